"""Due times of scheduled tasks: pure functions of a cron expression and two points of time."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim

from eco2.contracts.tasks import ZONE

LOCAL = ZoneInfo(ZONE)


def previous(expression: str, now: datetime) -> datetime:
    """The newest planned time that is not after `now`."""
    before = next(CronSim(expression, now.astimezone(LOCAL), reverse=True))
    after = following(expression, before)
    return after if after <= now else before


def following(expression: str, now: datetime) -> datetime:
    """The first planned time after `now`."""
    return next(CronSim(expression, now.astimezone(LOCAL)))


@dataclass(frozen=True)
class Verdict:
    """`last`: the time to remember as handled; `run`: True when a run has to be created for it."""

    last: datetime
    run: bool


def judge(expression: str, last: datetime | None, now: datetime) -> Verdict | None:
    """Decide about the times between `last`, which is handled, and `now`; None: nothing to do.

    Times that were missed make one run, for the newest of them. A clock that was set back makes none: what has run for
    a time does not run for it again. Should `last` lie beyond the next planned time, the clock was wrong when it was
    written, and it is taken back; otherwise nothing would run until then.
    """
    newest = previous(expression, now)
    if last is None or last > following(expression, now):
        return Verdict(newest, run=False)
    return Verdict(newest, run=True) if newest > last else None
