"""Signing keys (RS256) and the tokens made and read with them."""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from jwt.types import Options
from pydantic import ValidationError

from eco2.auth.settings import TokenSettings
from eco2.contracts.identity import (
    ACCESS_AUDIENCE,
    LONGEST_ACCESS_SECONDS,
    LONGEST_REFRESH_SECONDS,
    REFRESH_AUDIENCE,
    Claims,
)

LEEWAY_SECONDS = 5
"""Between the clocks of the database, which tokens are dated by, and of the edge, which allows as much."""
_LOCAL_USERS = uuid.UUID("6f1d3f0e-5f54-4f3c-9d0e-7c1f2a8b9e10")
_OWN_KID = re.compile(r"([0-9a-f]{8})-[0-9a-f]{8}")
_LONGEST = {"access": LONGEST_ACCESS_SECONDS, "refresh": LONGEST_REFRESH_SECONDS}
_TIMELESS: Options = {
    "require": ["exp", "nbf", "iat"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
_AUDIENCES = {"access": ACCESS_AUDIENCE, "refresh": REFRESH_AUDIENCE}


def user_id(name: str) -> uuid.UUID:
    """The id of a named user of the local stack: the same name is always the same user."""
    return uuid.uuid5(_LOCAL_USERS, name)


def create_key(directory: Path) -> Path:
    """A new 2048-bit key `<kid>.pem`, readable by its owner only; written whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    kid = f"{int(time.time()):08x}-{secrets.token_hex(4)}"
    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path, draft = directory / f"{kid}.pem", directory / f".{kid}.new"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    return draft.rename(path)


def _made_at(path: Path) -> float:
    """Epoch seconds: from the name that `create_key` gives, since a mounted secret has the time of its mounting."""
    own = _OWN_KID.fullmatch(path.stem)
    return int(own[1], 16) if own else path.stat().st_mtime


def _paths(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.pem"), key=lambda path: (_made_at(path), path.name))


def load_keys(directory: Path) -> dict[str, rsa.RSAPrivateKey]:
    """Kid → key, oldest first. FileNotFoundError when there is none: tokens cannot be made without."""
    paths = _paths(directory)
    if not paths:
        raise FileNotFoundError(f"no signing key (*.pem) in {directory}")
    keys: dict[str, rsa.RSAPrivateKey] = {}
    for path in paths:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError(f"{path.name} is not an RSA key")
        keys[path.stem] = key
    return keys


def jwks(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """The public half of every key (RFC 7517)."""
    return _jwks(load_keys(directory))


def _jwks(keys: dict[str, rsa.RSAPrivateKey]) -> dict[str, list[dict[str, Any]]]:
    found = []
    for kid, key in keys.items():
        public = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        found.append({**public, "kid": kid, "use": "sig", "alg": "RS256"})
    return {"keys": found}


@dataclass(frozen=True)
class KeyRow:
    """A key of the folder with its state: `signs`, will sign from `signs_from`, or only verifies."""

    kid: str
    path: Path
    made_at: datetime
    signs: bool
    signs_from: datetime | None
    needed_until: datetime
    """When the last token that it may have signed is over."""


def rows(settings: TokenSettings) -> list[KeyRow]:
    """Oldest first; none where there is no key."""
    paths = _paths(settings.signing_keys_dir)
    if not paths:
        return []
    signing, lead = Keyring(settings).signing_kid(), settings.key_lead
    made = [datetime.fromtimestamp(_made_at(path), UTC) for path in paths]
    found = []
    for path, at, after in zip(paths, made, [*made[1:], None], strict=True):
        later = path.stem != signing and at > made[[one.stem for one in paths].index(signing)]
        last_signed = after + lead if after is not None else datetime.now(UTC)
        needed = max(last_signed, at) + settings.refresh_ttl
        found.append(KeyRow(path.stem, path, at, path.stem == signing, at + lead if later else None, needed))
    return found


def _seal_key(key: rsa.RSAPrivateKey) -> bytes:
    """A secret derived from the signing key."""
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return hmac.new(b"eco2 seal", der, hashlib.sha256).digest()


def _mac(key: bytes, purpose: str, payload: bytes) -> bytes:
    return hmac.new(key, purpose.encode() + b"\0" + payload, hashlib.sha256).digest()


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


class TokenInvalid(Exception):
    """No token of ours."""


class Keyring:
    """The keys of the folder, read again when it has changed, so that a key is rotated without a restart."""

    def __init__(self, settings: TokenSettings) -> None:
        self._settings = settings
        self._names: tuple[str, ...] = ()
        self.reload()

    def reload(self) -> None:
        """FileNotFoundError, ValueError as `load_keys`; the keys from before are kept."""
        names = tuple(path.name for path in _paths(self._settings.signing_keys_dir))
        if names == self._names and names:
            return
        self._keys = load_keys(self._settings.signing_keys_dir)
        self._made_at = {path.stem: _made_at(path) for path in _paths(self._settings.signing_keys_dir)}
        self._seals = {kid: _seal_key(key) for kid, key in self._keys.items()}
        self.jwks = _jwks(self._keys)
        self._names = names

    def signing_kid(self) -> str:
        """The newest key that the edge has had the time to read; the oldest if all are too new."""
        known_since = time.time() - self._settings.key_lead.total_seconds()
        known = [kid for kid in self._keys if self._made_at.get(kid, 0) <= known_since]
        return known[-1] if known else next(iter(self._keys))

    def sign(self, claims: Claims) -> str:
        kid = self.signing_kid()
        payload = claims.model_dump(exclude_none=True)
        return jwt.encode(payload, self._keys[kid], algorithm="RS256", headers={"kid": kid})

    def seal(self, purpose: str, payload: bytes) -> str:
        """Text that `unseal` knows again, in every process with these keys; anybody can read the payload."""
        return f"{_encoded(payload)}.{_encoded(_mac(self._seals[self.signing_kid()], purpose, payload))}"

    def unseal(self, purpose: str, text: str) -> bytes | None:
        """The payload that was sealed for this purpose; None for anything else."""
        try:
            payload, mac = map(_decoded, text.split("."))
        except ValueError:
            return None
        sealed = any(hmac.compare_digest(mac, _mac(key, purpose, payload)) for key in self._seals.values())
        return payload if sealed and text == f"{_encoded(payload)}.{_encoded(mac)}" else None

    def read(self, token: str) -> Claims:
        """The claims of a token that this platform signed, access or refresh, whatever the time: a clock that is wrong
        would keep a session from being ended. The caller asks for the type it wants, and if it is over. TokenInvalid.
        """
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]].public_key()
            found = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=list(_AUDIENCES.values()),
                issuer=self._settings.issuer,
                options=_TIMELESS,
            )
            claims = Claims.model_validate(found)
        except (jwt.InvalidTokenError, ValidationError, KeyError, ValueError, TypeError):
            raise TokenInvalid from None
        if claims.aud != _AUDIENCES.get(claims.type) or claims.exp - claims.iat > _LONGEST[claims.type]:
            raise TokenInvalid
        return claims


def claims(
    settings: TokenSettings,
    kind: str,
    user: uuid.UUID,
    provider: str,
    *,
    role: str = "citizen",
    token_id: uuid.UUID,
    session: uuid.UUID | None = None,
    made_at: int,
    ttl: timedelta,
) -> Claims:
    return Claims(
        sub=str(user),
        jti=str(token_id),
        type=kind,
        iss=settings.issuer,
        aud=_AUDIENCES[kind],
        iat=made_at,
        nbf=made_at,
        exp=made_at + int(ttl.total_seconds()),
        provider=provider,
        role=role,
        sid=str(session) if session else None,
    )


def mint(settings: TokenSettings, user: uuid.UUID, provider: str, role: str = "citizen") -> str:
    """An access token without a session, for tools and tests."""
    made = claims(
        settings,
        "access",
        user,
        provider,
        role=role,
        token_id=uuid.uuid4(),
        made_at=int(time.time()),
        ttl=settings.access_ttl,
    )
    return Keyring(settings).sign(made)
