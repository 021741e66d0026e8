"""The statistics of one day: scans, durations and costs, from one grouping of the day's scans.

Long form, (metric, label) → value, so that a new figure is a new row and no migration:

scans: submitted, completed, failed, open · users: active · streams: by id · models: by name
looks: exact, near, shared (remembered), model, uncached (asked), fallback · answers: the same, and rules
choices: asked, made · rewards: granted · seconds: p50, p95 · cost_usd: llm (of the UTC day)
feedback: right, wrong, as last said on that day
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from eco2.contracts.tasks import ANALYTICS_DAILY, REPORT_GENERATE, Outcome
from eco2.core import redis
from eco2.core.errors import BadRequest
from eco2.core.postgres import Transaction, open_database
from eco2.jobs import store
from eco2.jobs.schedule import LOCAL
from eco2.jobs.settings import StatsSettings
from eco2.llm.budget import spent_key

MINUTES = 14
"""Statement timeout; the task itself may take 15."""
CATCH_UP_DAYS = 31
RUNS_KEPT = timedelta(days=90)

Figures = dict[tuple[str, str], float]


class BadDay(BadRequest):
    """Give a day that has begun, as 2026-11-24."""

    code = "BAD_DAY"


def a_day(text: str, today: date) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise BadDay(f"{text!r} is no day; give one as {today.isoformat()}.") from None
    if day > today:
        raise BadDay(f"{day} has not begun yet; today is {today}.")
    return day


def bounds(day: date) -> tuple[datetime, datetime]:
    """From midnight to midnight in Seoul."""
    start = datetime.combine(day, time(), LOCAL)
    return start, start + timedelta(days=1)


def figures(groups: Sequence[store.Group]) -> Figures:
    """The sums of `store.count_scans`. A day without a scan has its zero."""
    found: Counter[tuple[str, str]] = Counter({("scans", "submitted"): 0})
    for group in groups:
        ended = group.status if group.status in ("completed", "failed") else "open"
        keys = [("scans", "submitted"), ("scans", ended)]
        named = {
            "models": group.seen_by,
            "looks": group.vision_source,
            "answers": group.answer_source,
            "streams": group.stream_id,
        }
        keys += [(metric, label) for metric, label in named.items() if label is not None]
        keys += [("choices", "asked")] if group.needs_choice or group.chosen else []
        keys += [("choices", "made")] if group.chosen else []
        keys += [("rewards", "granted")] if group.rewarded else []
        found.update(dict.fromkeys(keys, group.count))
    return {key: float(value) for key, value in found.items()}


async def compute(tx: Transaction, day: date) -> Figures:
    start, end = bounds(day)
    await store.allow_long(tx, MINUTES)
    found = figures(await store.count_scans(tx, start, end))
    found["users", "active"] = await store.count_users(tx, start, end)
    verdicts = await store.count_verdicts(tx, start, end)
    found |= {("feedback", verdict): float(count) for verdict, count in verdicts.items()}
    if (seconds := await store.durations(tx, start, end)) is not None:
        found["seconds", "p50"], found["seconds", "p95"] = seconds
    return found


async def _cost(settings: StatsSettings, day: date) -> float | None:
    """USD that paid models cost on that day (UTC); None when nothing is known of it any more."""
    async with redis.connect(settings.redis_cache_url) as cache:
        spent = await cache.get(spent_key(day.isoformat()))
    return None if spent is None else int(spent) / 1e6


async def daily(argument: str) -> Outcome:
    """`analytics.daily`: compute a day anew, then write its report."""
    settings = StatsSettings()
    async with open_database(settings, repeat=True) as db:
        day = a_day(argument, (await store.now(db)).astimezone(LOCAL).date())
        async with db.transaction() as tx:
            found = await compute(tx, day)
            if (cost := await _cost(settings, day)) is None:
                before = (await store.stats(tx, day, day)).get(day, {}).get("cost_usd", {})
                found |= {("cost_usd", label): value for label, value in before.items()}
            else:
                found["cost_usd", "llm"] = cost
            await store.replace_day(tx, day, found)
    result = {"day": str(day), "scans": int(found["scans", "submitted"]), "figures": len(found)}
    return Outcome(result, [(REPORT_GENERATE.name, str(day))])


def missing(newest: date | None, today: date) -> list[date]:
    """The days to compute: yesterday, which may have been computed before its end, and missed days before."""
    yesterday = today - timedelta(days=1)
    first = max(newest, yesterday - timedelta(days=CATCH_UP_DAYS - 1)) if newest else yesterday
    first = min(first, yesterday)
    return [first + timedelta(days=n) for n in range((yesterday - first).days + 1)]


async def aggregate(_argument: str) -> Outcome:
    """`stats.aggregate`: order the statistics of every day that lacks them, and forget old runs."""
    async with open_database(StatsSettings(), repeat=True) as db, db.transaction() as tx:
        today = (await store.now(tx)).astimezone(LOCAL).date()
        days = missing(await store.newest_day(tx), today)
        forgotten = await store.forget_before(tx, RUNS_KEPT)
    then = [(ANALYTICS_DAILY.name, str(day)) for day in days]
    return Outcome({"days": [str(day) for day in days], "runs_forgotten": forgotten}, then)
