"""Revocations for every ext-authz: sessions whose tokens no longer count, although they have not expired.

Twice: as a message on the fanout exchange `authz.fanout`, which is fast and may be missed, and as entries of a Redis
stream, which is read from its start and then followed, and misses nothing.
"""

from uuid import UUID

from pydantic import BaseModel, ConfigDict

DENIED_STREAM = "authz:denied"
"""Entries `{id, until}`; those of tokens that have expired anyway are trimmed."""

COMPLETE_KEY = "authz:denied:complete"
"""`run_id` of the Redis server to which auth-api has written every revocation that counts. A server that restarted or
took over has another one: until auth-api has written all of them again, its stream may lack some and must not be
believed."""


class Revocation(BaseModel):
    """JSON body; may be delivered any number of times. `id` is the `sid` of a token, or the `jti` of one without."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: UUID
    until: int
    """Epoch seconds after which no token of that session can be valid."""
