"""Text in progress for one client: live parts, and the text so far if some are missing."""

from collections.abc import Iterator, Mapping

import orjson

from eco2.contracts.events import FIRST_TOKEN, TOKEN_RECOVERY
from eco2.messaging.events import Text


class Part:
    """A live part. It is sent once the client has the event `after`, the newest one when it was written."""

    __slots__ = ("after", "data", "round", "seq")

    def __init__(self, event: Mapping[str, object], text: str) -> None:
        seq, round_, after = event["seq"], event["round"], event["after"]
        if not (type(seq) is type(round_) is type(after) is int):
            raise TypeError("no part of a text")
        self.seq, self.round, self.after = seq, round_, after
        self.data = f"event: token\ndata: {text.rstrip()}\n\n".encode()


class Told:
    """The newest part that a client has: its `seq` and `round`."""

    __slots__ = ("round", "seq")

    def __init__(self) -> None:
        self.round, self.seq = 0, FIRST_TOKEN - 1

    def take(self, parts: dict[int, Part], last: int) -> Iterator[Part]:
        """Remove and yield the parts that follow, for a client whose newest event is `last`; older ones are dropped."""
        for seq in [seq for seq in parts if seq <= self.seq]:
            del parts[seq]
        while (part := parts.get(self.seq + 1)) and part.after <= last and part.round == (self.round or part.round):
            self.seq, self.round = part.seq, part.round
            yield parts.pop(part.seq)

    def behind(self, parts: Mapping[int, Part], last: int) -> bool:
        """True when a part is due and cannot be sent as it is: others are missing, or the text began anew."""
        return any(part.after <= last for part in parts.values())

    def recover(self, job_id: str, text: Text | None) -> bytes:
        """The frame with the text so far; empty for a client that has all of it."""
        if text is None or text.seq <= self.seq:
            return b""
        self.seq, self.round = text.seq, text.round
        body = {"job_id": job_id, "stage": TOKEN_RECOVERY, "status": "snapshot", "accumulated": text.content}
        # `completed` makes clients close without an end; the end is `done`.
        told = orjson.dumps({**body, "last_seq": text.seq, "completed": False})
        return f"event: {TOKEN_RECOVERY}\ndata: ".encode() + told + b"\n\n"
