"""Work on a user's text that may take longer than other requests should wait for."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

LONG = 200
"""Letters from which on reading a crafted text may take 10 ms of CPU."""

P = ParamSpec("P")
R = TypeVar("R")


async def aside(text: str | None, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of `work`, which reads the text: in a thread where that is long, else at once."""
    if text is None or len(text) < LONG:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
