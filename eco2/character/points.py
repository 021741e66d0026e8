"""Rules of points for a scan, without servers.

A scan that earned a character earns points, unless its photo has earned some already: for the same person ever, for
any person on the same day. A photo is the same if its bytes are, or if its perceptual hash is within TWIN_BITS.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Literal
from uuid import UUID

from eco2.contracts.grants import PHASH_BITS, TWIN_BITS, Grant

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
    """Standing of a grant of the batch in the ledger before it is written."""

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
    paid: list[_Paid] = []
    earned: Counter[tuple[UUID, date]] = Counter()
    for grant, standing in zip(grants, standings, strict=True):
        if standing.known or grant.job_id in entries:
            continue
        one = _Paid.of(grant)
        reason = _reason(one, standing, paid)
        if reason == "scan" and standing.earned + earned[one.user, one.day] + rates.per_scan > rates.daily_cap:
            reason = "daily_cap"
        amount = rates.per_scan if reason == "scan" else 0
        entries[grant.job_id] = Entry(grant, amount, reason)
        if amount:
            earned[one.user, one.day] += amount
            paid.append(one)
    return list(entries.values())


@dataclass(frozen=True)
class _Paid:
    """A grant as the others of its batch are compared with it; `phash` is -1 without a photo."""

    user: UUID
    day: date
    digest: str
    phash: int

    @classmethod
    def of(cls, grant: Grant) -> "_Paid":
        day, photo = day_of(grant.earned_at), grant.photo
        return cls(grant.user_id, day, photo.digest, int(photo.phash, 16)) if photo else cls(grant.user_id, day, "", -1)

    def is_twin(self, other: "_Paid") -> bool:
        if self.phash < 0 or other.phash < 0:
            return False
        return (self.phash ^ other.phash).bit_count() <= TWIN_BITS or self.digest == other.digest


def _reason(one: _Paid, standing: Standing, paid: Iterable[_Paid]) -> Reason:
    twins = [other for other in paid if one.is_twin(other)]
    if standing.seen_before or any(twin.user == one.user for twin in twins):
        return "seen_before"
    if standing.seen_today or any(twin.day == one.day for twin in twins):
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
