"""Web Push: keys of this installation (VAPID, RFC 8292), and a message as a push service takes it (RFC 8030, 8291)."""

import base64
import binascii
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY_BYTES = 32
POINT_BYTES = 65
UNCOMPRESSED = b"\x04"
TOKEN_SECONDS = 12 * 3600
"""RFC 8292 allows a day."""
RECORD = 4096
"""Bytes of the one record: a message is shorter."""
LAST_RECORD = b"\x02"


def bytes_of(text: str) -> bytes:
    """Bytes of base64url, with padding or without. ValueError."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def text_of(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class Key:
    """A key pair. The private one is written as tools of Web Push write it: 32 bytes in base64url."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def public(self) -> str:
        point = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return text_of(point)

    @property
    def text(self) -> str:
        return text_of(self.private.private_numbers().private_value.to_bytes(KEY_BYTES, "big"))

    @classmethod
    def read(cls, text: str) -> "Key":
        """ValueError where it is none."""
        value = bytes_of(text.strip())
        if len(value) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes in base64url")
        return cls(ec.derive_private_key(int.from_bytes(value, "big"), ec.SECP256R1()))

    @classmethod
    def make(cls) -> "Key":
        return cls(ec.generate_private_key(ec.SECP256R1()))


def read_keys(text: str) -> dict[str, Key]:
    """Public key → pair, of private keys with commas between them. ValueError."""
    found = [Key.read(one) for one in text.split(",") if one.strip()]
    return {key.public: key for key in found}


def check_public(text: str) -> None:
    """ValueError where it is no public key."""
    try:
        point = bytes_of(text)
        # A compressed point is a key, too, but neither browsers nor encryption take one.
        if len(point) != POINT_BYTES or not point.startswith(UNCOMPRESSED):
            raise ValueError
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise ValueError(f"a public key is a point of P-256, {POINT_BYTES} bytes in base64url") from None


def seal(
    content: bytes, p256dh: str, auth: str, salt: bytes | None = None, own: ec.EllipticCurvePrivateKey | None = None
) -> bytes:
    """The message encrypted for one browser: RFC 8291, one record of RFC 8188 (aes128gcm). `salt` and `own` are new for
    each message, but in tests."""
    salt, own = salt or os.urandom(16), own or ec.generate_private_key(ec.SECP256R1())
    theirs, ours = bytes_of(p256dh), own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = own.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs))
    secret = _derived(shared, bytes_of(auth), b"WebPush: info\0" + theirs + ours, 32)
    key = _derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(secret, salt, b"Content-Encoding: nonce\0", 12)
    head = salt + struct.pack("!LB", RECORD, len(ours)) + ours
    return head + AESGCM(key).encrypt(nonce, content + LAST_RECORD, None)


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


@dataclass
class Signer:
    """Authorization headers; one token for each push service and key serves a whole run."""

    contact: str
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    def headers(self, endpoint: str, key: Key, topic: str, keep: int) -> Mapping[str, str]:
        """A message of the same topic takes the place of one that the browser did not get yet.

        `keep`: seconds that the push service keeps it for a browser that is off."""
        parts = urlsplit(endpoint)
        origin = f"{parts.scheme}://{parts.netloc}"
        token = self._tokens.get((origin, key.public))
        if token is None:
            claims = {"aud": origin, "exp": int(time.time()) + TOKEN_SECONDS, "sub": self.contact}
            token = self._tokens[origin, key.public] = jwt.encode(claims, key.private, algorithm="ES256")
        return {
            "Authorization": f"vapid t={token}, k={key.public}",
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(keep),
            "Topic": topic,
            "Urgency": "normal",
        }
