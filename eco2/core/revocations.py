"""The list of sessions that ended (`eco2.contracts.revocations`), read from its beginning and then followed."""

from dataclasses import dataclass

from redis.asyncio import Redis

from eco2.contracts.revocations import COMPLETE_KEY, DENIED_STREAM

READ_SECONDS = 1.0
"""Pause between two reads of a follower."""


@dataclass(frozen=True)
class Denied:
    session: str
    until: int
    """Epoch seconds after which no token of it can be valid."""
    since: int
    """Second of Redis' clock when it was written."""


@dataclass(frozen=True)
class Page:
    """`more`: read again at once. `complete`: auth-api has written to this server all that counts. `now`: its clock."""

    entries: list[Denied]
    more: bool
    complete: bool
    now: int


class DeniedList:
    """Position of a reader in it. `restart` begins anew; so does the first page of another server, whose list may be
    another one whatever its clock says."""

    def __init__(self, redis: Redis, count: int = 2000) -> None:
        self._redis, self._count = redis, count
        self._server = ""
        self.restart()

    def restart(self) -> None:
        self._last = "0-0"

    async def read(self) -> Page:
        """RedisError."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.info("server")
            pipe.time()
            pipe.get(COMPLETE_KEY)
            pipe.xread({DENIED_STREAM: self._last}, count=self._count)
            server, (now, _), complete, found = await pipe.execute()
        if server["run_id"] != self._server:
            self._server = str(server["run_id"])
            self.restart()
            return Page([], more=True, complete=False, now=now)
        entries = found[0][1] if found else []
        if entries:
            self._last = entries[-1][0]
        denied = [
            Denied(fields["id"], int(fields["until"]), int(entry.partition("-")[0]) // 1000)
            for entry, fields in entries
        ]
        return Page(denied, more=len(entries) == self._count, complete=complete == self._server, now=now)
