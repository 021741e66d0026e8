"""The text of a turn on its way to followers: the first piece at once, then at most ten frames a second."""

import asyncio
import logging

from redis.exceptions import RedisError

from eco2.messaging.events import EventBus

FRAME_SECONDS = 0.1

log = logging.getLogger(__name__)


class Speaker:
    """`said`: all text so far, also what is still held back. `round_`: the attempt at the turn.

    Where a piece cannot be sent no further one is: the end of the turn brings the whole text."""

    def __init__(self, bus: EventBus, job_id: str, round_: int) -> None:
        self._bus, self._job_id, self._round = bus, job_id, round_
        self._part = 0
        self._held = ""
        self._next_at = float("-inf")
        self._later: asyncio.Task[None] | None = None
        self._broken = False
        self.said = ""

    async def say(self, text: str) -> None:
        """Send the text now, or with what comes within FRAME_SECONDS of the last frame."""
        if not text:
            return
        self.said += text
        self._held += text
        if self._later is not None and not self._later.done():
            return
        pause = self._next_at - asyncio.get_running_loop().time()
        if pause <= 0:
            await self._send()
        else:
            self._later = asyncio.create_task(self._send(pause))

    async def _send(self, pause: float = 0.0) -> None:
        await asyncio.sleep(pause)
        held, self._held = self._held, ""
        if not held or self._broken:
            return
        self._part += 1
        self._next_at = asyncio.get_running_loop().time() + FRAME_SECONDS
        try:
            await self._bus.say(self._job_id, self._round, self._part, held, "answer")
        except (RedisError, OSError) as error:
            self._broken = True
            log.warning("the text of a turn is not streamed further: %r", error)

    async def finish(self) -> None:
        """Send what is held back."""
        if self._later is not None:
            await self._later
        await self._send()
