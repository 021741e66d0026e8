"""Cursors of lists: where a page ended, as (time, id) of its last row, in a form that clients pass on unread."""

import base64
import binascii
from datetime import UTC, datetime
from uuid import UUID

from eco2.core.errors import BadRequest


class BadCursor(BadRequest):
    """The cursor is not one that this list gave; leave it out to start anew."""

    code = "INVALID_CURSOR"


def encode(at: datetime, row_id: str) -> str:
    return base64.urlsafe_b64encode(f"{at.astimezone(UTC).isoformat()} {row_id}".encode()).decode().rstrip("=")


def decode(cursor: str) -> tuple[datetime, str]:
    """(time, id) of the last row of the page before. BadCursor."""
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode()
        at, _, row_id = text.partition(" ")
        found = datetime.fromisoformat(at)
    except (ValueError, binascii.Error):
        raise BadCursor from None
    if found.tzinfo is None or not row_id or "\0" in row_id:
        raise BadCursor
    return found, row_id


def decode_uuid(cursor: str) -> tuple[datetime, UUID]:
    """The same of rows whose id is a UUID. BadCursor."""
    at, row_id = decode(cursor)
    try:
        return at, UUID(row_id)
    except ValueError:
        raise BadCursor from None
