"""Object keys of uploads: `<channel>/<32 hex><ext>`.

The second half of the hex is a keyed tag over the owner, so any service that holds the upload secret can tell whose
object it is without asking image-api (docs/adr/0004). A key does not reveal its owner.
"""

import hashlib
import hmac
import re
import secrets
from typing import Literal, get_args

Channel = Literal["chat", "scan", "my"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)

_KEY = re.compile(r"(?P<channel>chat|scan|my)/(?P<nonce>[0-9a-f]{16})(?P<tag>[0-9a-f]{16})\.[a-z]{3,4}")


def _tag(secret: str, owner: str, channel: str, nonce: str) -> str:
    text = f"{owner}\n{channel}\n{nonce}".encode()
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()[:16]


def new_key(secret: str, owner: str, channel: Channel, extension: str) -> str:
    """A fresh key for `owner` (user id); `extension` such as "jpg"."""
    nonce = secrets.token_hex(8)
    return f"{channel}/{nonce}{_tag(secret, owner, channel, nonce)}.{extension}"


def derived_key(secret: str, owner: str, channel: Channel, name: str) -> str:
    """The key of what a service stores for `owner` under a name of its own: always the same one. It ends in "jpg"; what
    the object holds, its content type tells."""
    text = f"{owner}\n{channel}\nname\n{name}".encode()
    nonce = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()[16:32]
    return f"{channel}/{nonce}{_tag(secret, owner, channel, nonce)}.jpg"


def key_channel(key: str) -> Channel | None:
    """The channel of a well-formed key, else None."""
    match = _KEY.fullmatch(key)
    return match["channel"] if match else None  # type: ignore[return-value]


def reissued(secret: str, owner: str, key: str) -> str:
    """The key of the same object for another owner: always the same one. ValueError for an invalid key."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"{key!r} is no key of an upload")
    channel, nonce, extension = match["channel"], match["nonce"], key.rpartition(".")[2]
    return f"{channel}/{nonce}{_tag(secret, owner, channel, nonce)}.{extension}"


def owns(secret: str, owner: str, key: str) -> bool:
    """True when `key` is well-formed and was made for `owner`."""
    match = _KEY.fullmatch(key)
    if match is None:
        return False
    return hmac.compare_digest(match["tag"], _tag(secret, owner, match["channel"], match["nonce"]))
