"""Short cuts and their slow twins: chosen by a setting, listed in docs/short-cuts.md with what they pay."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from eco2.core import short_cuts
from eco2.core.shared_redis import SharedRedis, connect_shared
from eco2.core.short_cuts import ShortCut, ShortCutSettings, taken
from eco2.local import config, stack
from eco2.processes import SERVICES

PAGE = Path(__file__).parents[2] / "docs/short-cuts.md"
Off = Callable[[str], None]


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> Iterator[Off]:
    def set_to(names: str) -> None:
        monkeypatch.setenv("ECO2_SHORT_CUTS_OFF", names)
        short_cuts._settings.cache_clear()

    yield set_to
    short_cuts._settings.cache_clear()


def test_all_are_taken_unless_they_are_named(off: Off) -> None:
    off("")
    assert all(taken(one) for one in ShortCut)
    off("redis-line, polled-route")
    assert [one.value for one in ShortCut if not taken(one)] == ["redis-line", "polled-route"]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValidationError):
        ShortCutSettings(short_cuts_off="no-such-thing")


async def test_the_twin_of_the_shared_line_is_the_pooled_client(off: Off) -> None:
    """The answers of both are compared in `tests/integration/test_redis.py`."""
    off("")
    assert type(connect_shared("redis://127.0.0.1:1/0")) is SharedRedis
    off("redis-line")
    assert type(connect_shared("redis://127.0.0.1:1/0")) is Redis


def test_the_twin_of_a_fork_is_a_process_of_its_own(off: Off, tmp_path: Path) -> None:
    at = config.layout(config.prepare_home(tmp_path / "home"))
    for names, forked in (("", True), ("fork-server", False)):
        off(names)
        assert stack._service_unit(at, SERVICES[0]).forked is forked


def test_the_page_lists_each_with_its_twin_and_tests_that_exist() -> None:
    text = PAGE.read_text()
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))
    assert listed == {one.value for one in ShortCut}
    for path in re.findall(r"`((?:tests|eco2)/[\w/]+\.py)`", text):
        assert (PAGE.parents[1] / path).exists(), path
