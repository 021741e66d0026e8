"""The nearest of many photos, as comparing each with each finds them."""

import random

import pytest

from eco2.scan.vision import look_index
from eco2.scan.vision.look_index import FIELD, LookIndex, packed

BITS = 24


def entry(number: int, phash: int) -> look_index.Entry:
    return f"{number}-0".encode(), [FIELD, packed(phash, f"{number:064x}")]


def changed(phash: int, bits: int) -> int:
    for bit in random.Random(bits).sample(range(256), bits):
        phash ^= 1 << bit
    return phash


def test_all_within_the_distance_are_found_the_nearest_first() -> None:
    rng = random.Random(1)
    own = rng.getrandbits(256)
    index = LookIndex()
    index.add([entry(n, rng.getrandbits(256)) for n in range(1, 500)])
    index.add([entry(500 + place, changed(own, bits)) for place, bits in enumerate((25, 24, 0, 7))])
    assert index.near(own, BITS) == [f"{500 + place:064x}" for place in (2, 3, 1)]
    assert LookIndex().near(own, BITS) == []


def test_what_comes_twice_or_late_changes_nothing() -> None:
    index = LookIndex()
    index.add([entry(1, 1), entry(2, 2), entry(10, 3)])
    index.add([entry(2, 2), entry(10, 3)])
    assert index.newest == b"10-0"
    assert sorted(index.near(0, BITS)) == [f"{n:064x}" for n in (1, 2, 10)]


def test_fields_come_as_a_list_of_a_script_or_as_a_dictionary_of_a_command() -> None:
    index = LookIndex()
    number, fields = entry(5, 0)
    index.add([(number, {FIELD: fields[1]})])  # type: ignore[index]
    assert index.near(0, BITS) == [f"{5:064x}"]


def test_an_entry_of_another_form_is_passed_over() -> None:
    index = LookIndex()
    index.add([(b"1-0", [FIELD, b"short"]), entry(2, 0)])
    assert index.near(0, BITS) == [f"{2:064x}"]
    assert index.newest == b"2-0"


def test_past_its_size_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_index, "MOST", 3)
    index = LookIndex()
    index.add([entry(n, 0) for n in range(1, 6)])
    assert sorted(index.near(0, BITS)) == [f"{n:064x}" for n in (3, 4, 5)]
