"""Signing keys (RS256) and the tokens made with them."""

import json
import os
import secrets
import time
import uuid
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from eco2.auth.settings import TokenSettings
from eco2.contracts.identity import ACCESS_AUDIENCE, Claims

_LOCAL_USERS = uuid.UUID("6f1d3f0e-5f54-4f3c-9d0e-7c1f2a8b9e10")


def user_id(name: str) -> uuid.UUID:
    """The id of a named user of the local stack: the same name is always the same user."""
    return uuid.uuid5(_LOCAL_USERS, name)


def create_key(directory: Path) -> Path:
    """A new 2048-bit key `<kid>.pem`, readable by its owner only; written whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    kid = f"{int(time.time()):x}-{secrets.token_hex(4)}"
    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path, draft = directory / f"{kid}.pem", directory / f".{kid}.new"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    return draft.rename(path)


def load_keys(directory: Path) -> dict[str, rsa.RSAPrivateKey]:
    """Kid → key, oldest first. FileNotFoundError when there is none: tokens cannot be made without."""
    paths = sorted(directory.glob("*.pem"), key=lambda path: (path.stat().st_mtime_ns, path.name))
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
    found = []
    for kid, key in load_keys(directory).items():
        public = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        found.append({**public, "kid": kid, "use": "sig", "alg": "RS256"})
    return {"keys": found}


def mint(settings: TokenSettings, user: uuid.UUID, provider: str, role: str = "citizen") -> str:
    """An access token for `user`, signed by the newest key."""
    kid, key = list(load_keys(settings.signing_keys_dir).items())[-1]
    now = int(time.time())
    claims = Claims(
        sub=str(user),
        jti=str(uuid.uuid4()),
        type="access",
        iss=settings.issuer,
        aud=ACCESS_AUDIENCE,
        iat=now,
        nbf=now,
        exp=now + int(settings.access_ttl.total_seconds()),
        provider=provider,
        role=role,
    )
    return jwt.encode(claims.model_dump(), key, algorithm="RS256", headers={"kid": kid})
