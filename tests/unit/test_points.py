"""The rules of points, without servers."""

import random
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from eco2.character.points import KOREA, Entry, Rates, Standing, Streak, bands, day_of, decide, streak
from eco2.contracts.grants import PHASH_BITS, TWIN_BITS, Grant, Photo
from eco2.scan.vision import cache, phash

RATES = Rates(per_scan=10, daily_cap=30)
NOON = datetime(2026, 11, 25, 12, tzinfo=KOREA)
NEW = Standing(known=False, seen_before=False, seen_today=False, earned=0)
DICE = random.Random()  # unseeded: a photo must be new to the database of the integration tests, too


def photo(value: int | None = None) -> Photo:
    value = DICE.getrandbits(PHASH_BITS) if value is None else value
    return Photo(digest=f"{DICE.getrandbits(256):064x}", phash=f"{value:064x}")


def twin(of: Photo, bits: int = TWIN_BITS) -> Photo:
    flipped = sum(1 << place for place in DICE.sample(range(PHASH_BITS), bits))
    return photo(int(of.phash, 16) ^ flipped)


def grant(user: uuid.UUID | None = None, shown: Photo | None = None, at: datetime = NOON, **other: Any) -> Grant:
    fields = {"job_id": uuid.uuid4(), "user_id": user or uuid.uuid4(), "character_code": "char-petty", **other}
    return Grant(source="scan", earned_at=at, photo=shown, **fields)


def reasons(entries: list[Entry]) -> list[str]:
    assert all((entry.reason == "scan") == (entry.amount == RATES.per_scan) for entry in entries)
    return [entry.reason for entry in entries]


def decided(*grants: Grant) -> list[str]:
    return reasons(decide(grants, [NEW] * len(grants), RATES))


def test_scan_and_contract_mean_the_same_hashes_and_twins() -> None:
    assert (phash.BITS, cache.NEAR_BITS) == (PHASH_BITS, TWIN_BITS)
    assert len(phash.hexadecimal(1)) == 64


def test_each_photo_of_a_person_earns() -> None:
    anna = uuid.uuid4()
    assert decided(grant(anna, photo()), grant(anna, photo()), grant(anna)) == ["scan", "scan", "scan"]


def test_a_job_has_one_entry_however_often_it_comes() -> None:
    one = grant(shown=photo())
    assert decided(one, one, one) == ["scan"]
    assert decide([one], [Standing(True, False, False, 0)], RATES) == []


@pytest.mark.parametrize("bits", [0, 1, TWIN_BITS])
def test_the_same_photo_earns_once_for_a_person_and_once_a_day_for_all(bits: int) -> None:
    anna, first = uuid.uuid4(), photo()
    tomorrow = NOON + timedelta(days=1)
    assert decided(grant(anna, first), grant(anna, twin(first, bits))) == ["scan", "seen_before"]
    assert decided(grant(anna, first), grant(anna, twin(first, bits), tomorrow)) == ["scan", "seen_before"]
    assert decided(grant(anna, first), grant(None, twin(first, bits))) == ["scan", "seen_today"]
    assert decided(grant(anna, first), grant(None, twin(first, bits), tomorrow)) == ["scan", "scan"]


def test_a_photo_that_is_further_away_is_another_one() -> None:
    first = photo()
    assert decided(grant(shown=first), grant(shown=twin(first, TWIN_BITS + 1))) == ["scan", "scan"]


def test_the_same_bytes_are_the_same_photo() -> None:
    first = photo()
    same = Photo(digest=first.digest, phash=photo().phash)
    assert decided(grant(shown=first), grant(shown=same)) == ["scan", "seen_today"]


def test_what_the_ledger_knows_counts() -> None:
    before, today = Standing(False, True, False, 0), Standing(False, False, True, 0)
    grants = [grant(shown=photo()), grant(shown=photo())]
    assert reasons(decide(grants, [before, today], RATES)) == ["seen_before", "seen_today"]


def test_a_day_has_a_cap_and_the_next_one_another() -> None:
    anna = uuid.uuid4()
    grants = [grant(anna, photo()) for _ in range(4)]
    assert decided(*grants, grant(anna, photo(), NOON + timedelta(days=1))) == [*["scan"] * 3, "daily_cap", "scan"]
    late = [Standing(False, False, False, 25)]
    assert reasons(decide([grant(anna, photo())], late, RATES)) == ["daily_cap"]


def test_a_photo_that_met_the_cap_has_not_earned() -> None:
    anna, shown = uuid.uuid4(), photo()
    full = Standing(False, False, False, RATES.daily_cap)
    entries = decide([grant(anna, shown), grant(None, shown)], [full, NEW], RATES)
    assert reasons(entries) == ["daily_cap", "scan"]


def test_a_day_is_one_of_korea() -> None:
    assert day_of(datetime(2026, 11, 25, 14, 59, tzinfo=UTC)) == date(2026, 11, 25)
    assert day_of(datetime(2026, 11, 25, 15, 0, tzinfo=UTC)) == date(2026, 11, 26)


def test_twins_of_a_day_share_a_band_and_those_of_two_days_none() -> None:
    day = date(2026, 11, 25)
    for _ in range(300):
        first = photo()
        found = bands(first.phash, day)
        assert set(found) & set(bands(twin(first).phash, day))
        assert not set(found) & set(bands(first.phash, day + timedelta(days=1)))
        assert len(set(found)) == TWIN_BITS + 1
    assert max(bands("f" * 64, date(2099, 12, 31))) < 2**31


def test_the_bands_are_the_whole_hash() -> None:
    day = date(2026, 11, 25)
    whole = bands("0" * 64, day)
    for place in range(PHASH_BITS):
        assert bands(f"{1 << place:064x}", day) != whole


TODAY = date(2026, 11, 25)


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        ([], Streak(0, 0)),
        ([0], Streak(1, 1)),
        ([1], Streak(1, 1)),
        ([2], Streak(0, 1)),
        ([0, 1, 2, 4, 5, 6, 7], Streak(3, 4)),
        ([1, 2], Streak(2, 2)),
    ],
)
def test_a_streak_is_days_in_a_row(ago: list[int], expected: Streak) -> None:
    totals = {TODAY - timedelta(days=days): 10 for days in ago}
    assert streak(totals, TODAY) == expected


def test_a_day_without_points_breaks_a_streak() -> None:
    totals = {TODAY: 10, TODAY - timedelta(days=1): 0, TODAY - timedelta(days=2): 10}
    assert streak(totals, TODAY) == Streak(1, 1)
