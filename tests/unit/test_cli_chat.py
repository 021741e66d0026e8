"""`eco2 chat`: the place that is typed."""

import pytest

from eco2.cli import chat


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ("37.5, 127", {"latitude": 37.5, "longitude": 127.0}),
        ("37.5 127", {"latitude": 37.5, "longitude": 127.0}),
        ("", {}),
        ("37.5", {}),
        ("nan,1", {}),
        ("1,inf", {}),
        ("91,1", {}),
        ("1,-181", {}),
        ("somewhere", {}),
    ],
)
def test_a_place_is_two_numbers_on_the_earth(typed: str, place: dict[str, float]) -> None:
    assert chat._place(typed) == place
