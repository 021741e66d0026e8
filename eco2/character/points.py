"""What a scan is worth: the rules of points, without servers.

A scan that earned a character earns points, unless its photo has earned some already: for the same person ever, for
anybody on the same day. A photo is the same when its bytes are, or when its perceptual hash is within TWIN_BITS.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Literal
from uuid import UUID

from eco2.contracts.grants import PHASH_BITS, TWIN_BITS, Grant, Photo

KOREA = timezone(timedelta(hours=9), "KST")
"""Korea keeps one offset all year."""

Reason = Literal["scan", "seen_before", "seen_today", "daily_cap"]

_BANDS = TWIN_BITS + 1
FIRST_DAY = date(2020, 1, 1)


@dataclass(frozen=True)
class Rates:
    per_scan: int
    daily_cap: int


@dataclass(frozen=True)
class Standing:
    """What the ledger says about a grant of the batch before it is written."""

    known: bool
    """Its job has a row already."""
    seen_before: bool
    seen_today: bool
    earned: int
    """Points of its user on its day."""


@dataclass(frozen=True)
class Entry:
    grant: Grant
    amount: int
    reason: Reason


def day_of(moment: datetime) -> date:
    return moment.astimezone(KOREA).date()


def is_same(one: Photo, other: Photo) -> bool:
    return (int(one.phash, 16) ^ int(other.phash, 16)).bit_count() <= TWIN_BITS or one.digest == other.digest


def bands(phash: str, day: date) -> list[int]:
    """One key for each of TWIN_BITS + 1 bands of the hash, with the day in it.

    Hashes that differ in TWIN_BITS bits agree in at least one band. A key is a positive 32-bit number: 15 bits of day,
    16 of band and content (25 bands of at most 11 bits).
    """
    value, start, keys = int(phash, 16), (day - FIRST_DAY).days << 16, []
    for number in range(_BANDS):
        width = (PHASH_BITS + number) // _BANDS
        keys.append(start | number << 11 | value & ((1 << width) - 1))
        value >>= width
    return keys


def decide(grants: Sequence[Grant], standings: Sequence[Standing], rates: Rates) -> list[Entry]:
    """The ledger entries of a batch, in its order; nothing for a job that has an entry. What comes first earns."""
    entries: dict[UUID | None, Entry] = {}
    paid: list[Grant] = []
    earned: Counter[tuple[UUID, date]] = Counter()
    for grant, standing in zip(grants, standings, strict=True):
        if standing.known or grant.job_id in entries:
            continue
        day = (grant.user_id, day_of(grant.earned_at))
        reason = _reason(grant, standing, paid)
        if reason == "scan" and standing.earned + earned[day] + rates.per_scan > rates.daily_cap:
            reason = "daily_cap"
        amount = rates.per_scan if reason == "scan" else 0
        entries[grant.job_id] = Entry(grant, amount, reason)
        if amount:
            earned[day] += amount
            paid.append(grant)
    return list(entries.values())


def _reason(grant: Grant, standing: Standing, paid: Iterable[Grant]) -> Reason:
    twins = [other for other in paid if grant.photo and other.photo and is_same(grant.photo, other.photo)]
    if standing.seen_before or any(twin.user_id == grant.user_id for twin in twins):
        return "seen_before"
    if standing.seen_today or any(day_of(twin.earned_at) == day_of(grant.earned_at) for twin in twins):
        return "seen_today"
    return "scan"


@dataclass(frozen=True)
class Streak:
    """Days in a row with points: up to today (or to yesterday, while today has none yet), and the most ever."""

    current: int
    longest: int


def streak(totals: Mapping[date, int], today: date) -> Streak:
    """`totals`: points by day."""
    lengths: dict[date, int] = {}
    for day in sorted(day for day, amount in totals.items() if amount):
        lengths[day] = lengths.get(day - timedelta(days=1), 0) + 1
    current = lengths.get(today) or lengths.get(today - timedelta(days=1), 0)
    return Streak(current, max(lengths.values(), default=0))
