"""The keeper of turns, in every chat-api: completes turns after a crash of a process or an outage of a server.

One works at a time. It sends unsent turns, ends overdue ones and those that were not stopped, and announces
the ends that were not announced.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import UUID

from prometheus_client import Counter

from eco2.chat import announcing, conversation, turn_store, work_store
from eco2.chat.conversation import Talk
from eco2.chat.turn_store import Turn
from eco2.core.errors import AWAY

log = logging.getLogger(__name__)

KEPT = Counter("eco2_chat_kept_total", "Turns that the keeper had to take care of", ["kind"])
ROUND_SECONDS = 1.0
GRACE = timedelta(seconds=2)
"""Longest time between two commits before the process that has to make the second counts as dead."""


async def keep(talk: Talk, deadline: timedelta) -> dict[str, int]:
    """Make one round; how many turns of each kind were taken care of. Nothing while another process keeps."""
    async with work_store.keeping(talk.db) as ours:
        if not ours:
            return {}
        counts = {
            "overdue": await _each(talk, await work_store.overdue(talk.db, deadline), _give_up),
            "unheard": await _each(talk, await work_store.unheard(talk.db, 2 * GRACE), conversation.stop),
            "unannounced": await _each(talk, await work_store.unannounced(talk.db, GRACE), _announce),
            "unsent": await _each(talk, await work_store.unsent(talk.db, GRACE), conversation.queue),
        }
    for kind, count in counts.items():
        KEPT.labels(kind).inc(count)
    return {kind: count for kind, count in counts.items() if count}


async def _each(talk: Talk, ids: Sequence[UUID], act: Callable[[Talk, Turn], Awaitable[None]]) -> int:
    """Take care of each by itself; for how many that went well. The others come again in the next round."""
    done = 0
    for job_id in ids:
        turn = await turn_store.load(talk.db, job_id)
        if turn is None:
            continue
        try:
            await act(talk, turn)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other turns have no part in it
            log.warning("a turn could not be kept: %r", error, extra={"job_id": str(job_id)})
        else:
            done += 1
    return done


async def _give_up(talk: Talk, turn: Turn) -> None:
    if await turn_store.fail(talk.db, turn.id, announcing.LATE_CODE, announcing.LATE):
        await _announce(talk, turn)


async def _announce(talk: Talk, turn: Turn) -> None:
    await announcing.announce(talk.db, talk.storage, talk.bus, turn.id)


@asynccontextmanager
async def keeping(talk: Talk, deadline: timedelta) -> AsyncIterator[None]:
    """Keeps beside the requests."""
    task = asyncio.create_task(_run(talk, deadline))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _run(talk: Talk, deadline: timedelta) -> None:
    while True:
        await asyncio.sleep(ROUND_SECONDS)
        try:
            if kept := await keep(talk, deadline):
                log.warning("kept turns: %s", kept)
        except tuple(AWAY) as error:
            log.warning("turns cannot be kept: %s", str(error).partition("\n")[0])
        except Exception:
            log.exception("keeping turns failed")
