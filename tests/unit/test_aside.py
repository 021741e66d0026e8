"""Thread in which a text is read."""

import threading

import pytest

from eco2.core.aside import LONG, aside


@pytest.mark.parametrize(("text", "apart"), [(None, False), ("a" * (LONG - 1), False), ("a" * LONG, True)])
async def test_a_long_text_is_read_beside_the_event_loop(text: str | None, apart: bool) -> None:
    thread = await aside(text, threading.current_thread)
    assert (thread is not threading.main_thread()) is apart
