"""Signing keys and tokens."""

import os
import stat
import uuid
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from eco2.auth import keys
from eco2.auth.settings import TokenSettings
from eco2.contracts.identity import ACCESS_AUDIENCE, Claims

ISSUER = "https://api.example.org/api/v1/auth"


@pytest.fixture
def settings(tmp_path: Path) -> TokenSettings:
    keys.create_key(tmp_path)
    return TokenSettings(signing_keys_dir=tmp_path, issuer=ISSUER, access_ttl=timedelta(minutes=5))


def test_a_token_verifies_with_the_published_key(settings: TokenSettings) -> None:
    user = uuid.uuid4()
    token = keys.mint(settings, user, "kakao", role="steward")
    found = jwt.PyJWKSet.from_dict(keys.jwks(settings.signing_keys_dir))
    kid = jwt.get_unverified_header(token)["kid"]
    raw = jwt.decode(token, found[kid].key, algorithms=["RS256"], audience=ACCESS_AUDIENCE, issuer=ISSUER)
    claims = Claims.model_validate(raw)
    assert (claims.sub, claims.type, claims.provider, claims.role) == (str(user), "access", "kakao", "steward")
    assert claims.exp - claims.iat == 300


def test_the_newest_key_signs_and_all_are_published(settings: TokenSettings) -> None:
    old = keys.mint(settings, uuid.uuid4(), "local")
    path = keys.create_key(settings.signing_keys_dir)
    os.utime(path, ns=(2**62, 2**62))
    new = keys.mint(settings, uuid.uuid4(), "local")
    kids = [jwt.get_unverified_header(token)["kid"] for token in (old, new)]
    assert kids[1] == path.stem
    assert [key["kid"] for key in keys.jwks(settings.signing_keys_dir)["keys"]] == kids


def test_only_the_public_half_is_published(settings: TokenSettings) -> None:
    for key in keys.jwks(settings.signing_keys_dir)["keys"]:
        assert set(key) == {"kty", "kid", "use", "alg", "n", "e", "key_ops"} - ({"key_ops"} - set(key))


def test_the_private_key_is_readable_by_its_owner_only(settings: TokenSettings) -> None:
    for path in settings.signing_keys_dir.glob("*.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_key_nothing_is_signed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no signing key"):
        keys.jwks(tmp_path)


def test_a_name_is_always_the_same_user() -> None:
    assert keys.user_id("anna") == keys.user_id("anna")
    assert keys.user_id("anna") != keys.user_id("ben")
