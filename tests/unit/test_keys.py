"""Signing keys and tokens."""

import stat
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from eco2.auth import keys
from eco2.auth.settings import TokenSettings
from eco2.cli.main import app
from eco2.contracts.identity import ACCESS_AUDIENCE, Claims

ISSUER = "https://api.example.org/api/v1/auth"
USER = "3f8e6c1a-9a3e-4a51-8f0e-5b6f3f6d2c10"


def _claims(settings: TokenSettings, kind: str = "access") -> Claims:
    return keys.claims(
        settings,
        kind,
        uuid.UUID(USER),
        "kakao",
        token_id=uuid.uuid4(),
        session=uuid.uuid4(),
        made_at=int(time.time()),
        ttl=settings.access_ttl,
    )


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


def _aged(path: Path, seconds: int) -> Path:
    """The same key, made so long ago."""
    return path.rename(path.with_name(f"{int(time.time()) - seconds:08x}-{path.stem[9:]}.pem"))


def test_a_new_key_signs_when_everybody_has_had_time_to_read_it(settings: TokenSettings) -> None:
    (first,) = settings.signing_keys_dir.glob("*.pem")
    old = _aged(first, 5000)
    new = keys.create_key(settings.signing_keys_dir)
    ring = keys.Keyring(settings)
    assert [key["kid"] for key in ring.jwks["keys"]] == [old.stem, new.stem]
    assert ring.signing_kid() == old.stem
    grown = _aged(new, int(settings.key_lead.total_seconds()) + 1)
    ring.reload()
    assert ring.signing_kid() == grown.stem


def test_the_first_key_signs_at_once(settings: TokenSettings) -> None:
    (first,) = settings.signing_keys_dir.glob("*.pem")
    keys.create_key(settings.signing_keys_dir)
    assert keys.Keyring(settings).signing_kid() == min(path.stem for path in settings.signing_keys_dir.glob("*.pem"))
    assert keys.Keyring(settings).sign(_claims(settings)).count(".") == 2
    assert first.exists()


def test_tokens_of_the_old_key_are_read_until_it_is_removed(settings: TokenSettings) -> None:
    (first,) = settings.signing_keys_dir.glob("*.pem")
    old = _aged(first, 5000)
    ring = keys.Keyring(settings)
    token = ring.sign(_claims(settings))
    _aged(keys.create_key(settings.signing_keys_dir), 4000)
    ring.reload()
    assert ring.read(token).sub == USER
    old.unlink()
    ring.reload()
    with pytest.raises(keys.TokenInvalid):
        ring.read(token)


def test_an_empty_folder_does_not_take_the_keys_away(settings: TokenSettings) -> None:
    ring = keys.Keyring(settings)
    token = ring.sign(_claims(settings))
    for path in settings.signing_keys_dir.glob("*.pem"):
        path.unlink()
    with pytest.raises(FileNotFoundError):
        ring.reload()
    assert ring.read(token).sub == USER


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_a_token_is_read_as_what_it_is(settings: TokenSettings, kind: str) -> None:
    ring = keys.Keyring(settings)
    assert ring.read(ring.sign(_claims(settings, kind))).type == kind


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "refresh"},
        {"aud": "other"},
        {"type": "refresh"},
        {"type": "other"},
        {"iss": "https://evil.example"},
    ],
    ids=str,
)
def test_a_token_for_something_else_is_none(settings: TokenSettings, wrong: dict[str, object]) -> None:
    ring = keys.Keyring(settings)
    with pytest.raises(keys.TokenInvalid):
        ring.read(ring.sign(_claims(settings).model_copy(update=wrong)))


@pytest.mark.parametrize(("kind", "longest"), [("access", 24 * 3600), ("refresh", 30 * 24 * 3600)])
def test_a_token_that_lives_too_long_is_none_whoever_signed_it(
    settings: TokenSettings, kind: str, longest: int
) -> None:
    ring = keys.Keyring(settings)
    made = _claims(settings, kind)
    assert ring.read(ring.sign(made.model_copy(update={"exp": made.iat + longest}))).type == kind
    with pytest.raises(keys.TokenInvalid):
        ring.read(ring.sign(made.model_copy(update={"exp": made.iat + longest + 1})))


@pytest.mark.parametrize("wrong", [{"access_ttl": timedelta(hours=25)}, {"refresh_ttl": timedelta(days=31)}], ids=str)
def test_no_setting_makes_a_token_live_too_long(settings: TokenSettings, wrong: dict[str, timedelta]) -> None:
    with pytest.raises(ValueError, match="less than or equal"):
        TokenSettings(**{**settings.model_dump(), **wrong})


@pytest.mark.parametrize("shift", [-3600, 600])
def test_a_token_is_read_whatever_the_time(settings: TokenSettings, shift: int) -> None:
    """One that seems to be from the future shows that a clock is wrong, not that nobody is signed in."""
    ring = keys.Keyring(settings)
    made = _claims(settings)
    shifted = {name: getattr(made, name) + shift for name in ("iat", "nbf", "exp")}
    assert ring.read(ring.sign(made.model_copy(update=shifted))).sub == USER


@pytest.mark.parametrize("text", ["", "abc", "a.b.c", "é.é.é", "eyJhbGciOiJSUzI1NiJ9.e30.x"])
def test_garbage_is_no_token(settings: TokenSettings, text: str) -> None:
    with pytest.raises(keys.TokenInvalid):
        keys.Keyring(settings).read(text)


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


# The operator's rotation


def command(settings: TokenSettings, *arguments: str) -> tuple[int, str]:
    environment = {"ECO2_SIGNING_KEYS_DIR": str(settings.signing_keys_dir), "ECO2_ISSUER": ISSUER, "COLUMNS": "200"}
    done = CliRunner().invoke(app, ["auth", "keys", *arguments], env=environment)
    return done.exit_code, done.output


def test_a_rotation_from_the_first_key_to_the_last_token(settings: TokenSettings) -> None:
    (first,) = settings.signing_keys_dir.glob("*.pem")
    old = _aged(first, 5000)
    code, told = command(settings, "add")
    assert (code, "signs in 10 minutes" in told) == (0, True)
    (new,) = set(settings.signing_keys_dir.glob("*.pem")) - {old}
    assert [(row.kid, row.signs) for row in keys.rows(settings)] == [(old.stem, True), (new.stem, False)]
    _, listed = command(settings, "list")
    assert "signs from" in listed.splitlines()[-1]
    for kid, why in ((old.stem, "This key signs"), (new.stem, "This key is new"), ("other", "There is no key")):
        code, told = command(settings, "retire", kid)
        assert (code, why in told) == (1, True)

    grown = _aged(new, 700)
    code, told = command(settings, "retire", old.stem)
    assert (code, "--now" in told) == (1, True)
    assert old.exists()
    code, _ = command(settings, "retire", old.stem, "--now")
    assert code == 0
    assert [path.stem for path in settings.signing_keys_dir.glob("*.pem")] == [grown.stem]
    code, told = command(settings, "retire", grown.stem, "--now")
    assert (code, "This key signs" in told) == (1, True)


def test_a_key_is_needed_for_as_long_as_a_token_of_it_can_count(settings: TokenSettings) -> None:
    (first,) = settings.signing_keys_dir.glob("*.pem")
    month = int(settings.refresh_ttl.total_seconds())
    old = _aged(first, 3 * month)
    _aged(keys.create_key(settings.signing_keys_dir), month - 60)
    assert keys.rows(settings)[0].needed_until > datetime.now(UTC)
    assert command(settings, "retire", old.stem)[0] == 1
    for path in set(settings.signing_keys_dir.glob("*.pem")) - {old}:
        _aged(path, month + 700)
    assert command(settings, "retire", old.stem)[0] == 0


def test_no_keys_are_told(tmp_path: Path) -> None:
    assert keys.rows(TokenSettings(signing_keys_dir=tmp_path, issuer=ISSUER)) == []
    assert "No keys" in command(TokenSettings(signing_keys_dir=tmp_path, issuer=ISSUER), "list")[1]
