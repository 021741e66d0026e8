"""Safe reading of message headers: no header of a sender may end the connection.

pamqp, the codec of aio-pika, raises on a time past the year 9999, on names that are not UTF-8, and on tables nested too
deeply. That ends the connection with all that came by it, and the broker counts a failed delivery for each message in
work; then the same message comes again. Importing this module makes such a value None and leaves the rest readable.
"""

import threading
from collections.abc import Callable
from typing import Any

from pamqp import decode

SENT_HEADER = "x-sent-at"
"""When the message was sent, in epoch seconds."""

UNREADABLE = (ValueError, OverflowError, OSError, RecursionError)
"""Errors that the codecs raise on values that they cannot represent. UnicodeError is a ValueError."""

DEEPEST = 16
"""Levels of nested lists and tables that are read; the broker's own headers have three."""

_SIZE = 4
_NESTED = (b"A", b"F")
_within = threading.local()

_time: Callable[[bytes], tuple[int, Any]] = decode.timestamp
_table: Callable[[bytes], tuple[int, Any]] = decode.field_table


def whole_number(value: object) -> int:
    """A count from a header; 0 for any other value."""
    return value if type(value) is int and 0 <= value < 1 << 31 else 0


def moment(value: object) -> float:
    """A time in epoch seconds from a header; 0 for any other value."""
    return value if type(value) is float and 0 < value < 1 << 33 else 0.0


def printable(value: object, length: int) -> str:
    """Text of a stranger for a log, a header or a terminal: one line, without control characters, at most that long."""
    text = value if isinstance(value, str) else repr(value)
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[: length + 1])
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def _nested(read: Callable[[bytes], tuple[int, Any]]) -> Callable[[bytes], tuple[int, Any]]:
    """Without it a value of 5,000 lists in each other, which fits into a header, takes a third of a second."""

    def bounded(data: bytes) -> tuple[int, Any]:
        depth = getattr(_within, "depth", 0)
        if depth >= DEEPEST:
            raise ValueError("nested too deeply")
        _within.depth = depth + 1
        try:
            return read(data)
        finally:
            _within.depth = depth

    return bounded


def _any_time(data: bytes) -> tuple[int, Any]:
    try:
        return _time(data)
    except UNREADABLE:
        return 8, None


def _short_text(data: bytes) -> tuple[int, Any]:
    size = data[0] if data else 0
    return size + 1, data[1 : size + 1].decode(errors="replace")


def _any_table(data: bytes) -> tuple[int, Any]:
    try:
        return _table(data)
    except UNREADABLE:
        return _salvaged(data)


def _salvaged(data: bytes) -> tuple[int, dict[str, Any]]:
    """The table without the values that cannot be read, up to one whose size nothing tells."""
    end, at, found = _SIZE + int.from_bytes(data[:_SIZE]), _SIZE, dict[str, Any]()
    while at < min(end, len(data)):
        name = data[at + 1 : at + 1 + data[at]].decode(errors="replace")
        at += 1 + data[at]
        try:
            size, found[name] = decode.embedded_value(data[at:])
        except UNREADABLE:
            found[name] = None
            if data[at : at + 1] not in _NESTED:
                break
            size = 1 + _SIZE + int.from_bytes(data[at + 1 : at + 1 + _SIZE])
        at += size
    return end, found


decode.METHODS.update(table=_any_table, timestamp=_any_time, shortstr=_short_text)
decode.TABLE_MAPPING.update({b"T": _any_time, b"A": _nested(decode.field_array), b"F": _nested(_table)})
