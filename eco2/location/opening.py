"""Opening hours: their stored form, and the state of a place at a moment.

Times are minutes of one day, so hours past midnight are split: the rest belongs to the next day. A missing value is
unknown, never "closed".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from eco2.core.stored import Reader

KOREA = ZoneInfo("Asia/Seoul")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT = 24 * 60
MOST_KNOWN = 5_000

Intervals = list[list[str]]
Weekly = dict[str, Intervals]
"""mon → [["09:00", "12:00"], …]. An empty list is a day of rest, a missing day is unknown."""
Holidays = Mapping[date, tuple[str, ...]]
"""Names of the public holidays of a day; a day may be two."""


# --- the stored form --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Season:
    """Hours from one day of the year ("07-01") to another."""

    first: Annotated[str, Field(alias="from")]
    last: Annotated[str, Field(alias="to")]
    weekly: Weekly


@dataclass(frozen=True)
class Hours:
    """Stored as JSON without the fields that have their default: a new field needs one, which stands for its absence.

    `raw`: the text as it came; `closed`: for good; `always`: day and night; `weeks_of_month`: the weeks in which it
    opens, all where there is none; `holiday`: closed, open, or empty where nothing is said; `holiday_hours`: those of
    every holiday; `closed_on`: names of holidays.
    """

    raw: str = ""
    closed: bool = False
    always: bool = False
    weekly: Weekly = field(default_factory=dict)
    season: tuple[Season, ...] = ()
    weeks_of_month: tuple[int, ...] = ()
    holiday: str = ""
    holiday_hours: Intervals = field(default_factory=list)
    closed_on: tuple[str, ...] = ()


_FORM = Reader(Hours)


def read(stored: str) -> Hours:
    return _FORM.loads(stored)


def write(hours: Hours) -> str:
    return _FORM.dumps(hours)


# --- is it open? ------------------------------------------------------------------------------------------------------


def clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


@dataclass(frozen=True)
class Today:
    """None where it is not known."""

    is_open: bool | None = None
    is_holiday: bool | None = None
    """Closed the whole day."""
    start_time: str | None = None
    end_time: str | None = None


UNKNOWN = Today()


class Clock:
    """Tells the states of places. What one text of hours says at one minute is worked out once for all that have it."""

    def __init__(self, calendar: Holidays) -> None:
        self._calendar = calendar
        self._minute = 0
        self._known: dict[str, Today] = {}

    def state(self, hours: str | None, now: datetime) -> Today:
        """`hours`: the stored form."""
        if hours is None:
            return UNKNOWN
        minute = int(now.timestamp() / 60)
        if minute != self._minute or len(self._known) > MOST_KNOWN:
            self._minute, self._known = minute, {}
        found = self._known.get(hours)
        if found is None:
            found = self._known[hours] = today(read(hours), now, self._calendar)
        return found


def today(hours: Hours | None, now: datetime, calendar: Holidays) -> Today:
    """State of a place at `now`; `calendar`: the holidays of Korea, by day."""
    if hours is None:
        return UNKNOWN
    if hours.closed:
        return Today(False, True)
    here = now.astimezone(KOREA)
    at, day, before = here.hour * 60 + here.minute, here.date(), here.date() - timedelta(days=1)
    spans, night = _planned(hours, day, calendar), _planned(hours, before, calendar)
    from_night = any(last > MIDNIGHT for _, last in night or ())
    shown = _from_until(spans or (night if from_night else None))
    if _covers(night, at + MIDNIGHT):  # it opened yesterday and has not closed yet, also on a holiday
        return Today(True, False, *shown)
    if spans is None:
        return UNKNOWN
    is_open: bool | None = _covers(spans, at)
    if not is_open and night is None and _covers(_of_week(hours, before), at + MIDNIGHT):
        is_open = None  # unknown on a holiday yesterday
    return Today(is_open, not spans and not from_night, *shown)


Spans = list[tuple[int, int]]


def _covers(spans: Spans | None, at: int) -> bool:
    return any(first <= at < last for first, last in spans or ())


def _from_until(spans: Spans | None) -> tuple[str | None, str | None]:
    if not spans:
        return None, None
    last = spans[-1][1]
    return clock(spans[0][0]), clock(last if last <= MIDNIGHT else last - MIDNIGHT)


def _planned(hours: Hours, day: date, calendar: Holidays) -> Spans | None:
    """Hours that begin on that day, to their end in the night; None: unknown."""
    names = calendar.get(day, ())
    if any(name in names for name in hours.closed_on):
        return []
    if names and hours.holiday == "closed":
        return []
    if names and hours.holiday_hours:
        return [(_number(first), _number(last)) for first, last in hours.holiday_hours]
    if hours.always:
        return [(0, MIDNIGHT)]
    if names and hours.holiday != "open":
        return None
    if hours.weeks_of_month and (day.day - 1) // 7 + 1 not in hours.weeks_of_month:
        return []
    return _of_week(hours, day)


def _of_week(hours: Hours, day: date) -> Spans | None:
    """The same by the day of the week alone. What is stored at its beginning may be left of the night before."""
    stored = _stored(hours, day)
    if stored is None:
        return None
    spans = [(_number(first), _number(last)) for first, last in stored]
    if spans and _goes_on(_stored(hours, day - timedelta(days=1)), stored):
        spans = spans[1:]
    after = _stored(hours, day + timedelta(days=1))
    if after and spans and _goes_on(stored, after):
        spans[-1] = (spans[-1][0], MIDNIGHT + _number(after[0][1]))
    return spans


def _goes_on(before: Intervals | None, after: Intervals) -> bool:
    """True when the last hours of a day are continued on the next, until some time of it."""
    return (
        bool(before and after)
        and (before[-1][1], after[0][0]) == ("24:00", "00:00")  # type: ignore[index]
        and before[-1][0] != "00:00"  # type: ignore[index]
        and after[0][1] != "24:00"
    )


def _stored(hours: Hours, day: date) -> Intervals | None:
    weekly = hours.weekly
    for season in hours.season:
        if _within(f"{day:%m-%d}", season.first, season.last):
            weekly = {**weekly, **season.weekly}
    return weekly.get(DAYS[day.weekday()])


def _number(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:])


def _within(day: str, first: str, last: str) -> bool:
    return first <= day <= last if first <= last else day >= first or day <= last
