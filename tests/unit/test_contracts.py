"""Upload keys, settings and the small contracts."""

import uuid
from typing import Any

import pytest
from pydantic import ValidationError

from eco2.contracts import uploads
from eco2.contracts.events import SHARDS, Draft, Stage, Status, shard_key, shard_keys
from eco2.core.settings import BrokerSettings, DatabaseSettings, ServerUrl, Settings, StreamsSettings, load
from eco2.processes import PROCESSES, SERVICES, process

SECRET = "s" * 32


def test_a_key_belongs_to_its_owner_and_to_nobody_else() -> None:
    key = uploads.new_key(SECRET, "anna", "scan", "jpg")
    assert uploads.key_channel(key) == "scan"
    assert uploads.owns(SECRET, "anna", key)
    assert not uploads.owns(SECRET, "ben", key)
    assert not uploads.owns("t" * 32, "anna", key)
    assert not uploads.owns(SECRET, "anna", key.replace("scan/", "chat/"))


def test_keys_do_not_repeat_or_tell_their_owner() -> None:
    keys = {uploads.new_key(SECRET, "anna", "scan", "jpg") for _ in range(100)}
    assert len(keys) == 100
    assert not any("anna" in key for key in keys)


@pytest.mark.parametrize(
    "key", ["", "scan/", "scan/..", "other/" + "0" * 32 + ".jpg", "scan/" + "0" * 31 + ".jpg", "scan/" + "0" * 32]
)
def test_other_keys_are_not_ours(key: str) -> None:
    assert uploads.key_channel(key) is None
    assert not uploads.owns(SECRET, "anna", key)


def test_jobs_spread_over_the_shards() -> None:
    assert {shard_key(str(uuid.UUID(int=n))) for n in range(200)} == set(shard_keys())
    assert len(shard_keys()) == SHARDS


def test_done_is_terminal_whatever_its_status() -> None:
    assert Draft(Stage.DONE, Status.FAILED, 100).terminal
    assert not Draft(Stage.VISION, Status.FAILED, 0).terminal


@pytest.mark.parametrize("url", ["amqp://guest:guest@host/eco2", "amqp://admin:admin123@host/eco2"])
def test_well_known_passwords_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="well-known default password"):
        BrokerSettings(broker_url=url)


STRONG = "correct-horse-battery"
SERVICE = f"{STRONG}-staple-{STRONG}"


class Everything(Settings, DatabaseSettings, StreamsSettings, BrokerSettings):
    upload_secret: str = STRONG
    kakao_client_secret: str = "short"
    elsewhere: ServerUrl | None = None


def everything(environment: str, password: str, **others: Any) -> Everything:
    return Everything(
        environment=environment,
        service_secret=SERVICE,
        database_url=f"postgresql://eco2:{password}@db/eco2",
        redis_streams_url=f"redis+sentinel://:{STRONG}@a:1,b:2/main/0",
        broker_url=f"amqp://eco2:{STRONG}@mq/eco2",
        **others,
    )


@pytest.mark.parametrize(
    "password",
    [
        *("", "postgres", "eco2", "redis", "s3cr3t", "fifteen-letters", "aaaaaaaaaaaaaaaaaaaa", "passwordpassword"),
        *("eco2eco2eco2eco2", "0123456789abcdef", "0123456789ABCDEF", "%61%61%61%61%61%61"),
    ],
)
@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_outside_the_local_stack_a_password_that_can_be_guessed_is_refused(environment: str, password: str) -> None:
    with pytest.raises(ValidationError, match=r"ECO2_DATABASE_URL has (no|a) password"):
        everything(environment, password)
    everything("local", password)


def test_outside_the_local_stack_strong_secrets_are_accepted_and_those_of_others_are_not_ours_to_judge() -> None:
    assert everything("prod", STRONG, elsewhere=f"redis://:{STRONG}@cache/0").environment == "prod"


@pytest.mark.parametrize(
    ("name", "value"),
    [("upload_secret", "x" * 40), ("elsewhere", "redis://cache/0"), ("elsewhere", "amqps://a:b@mq/x")],
)
def test_each_weak_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=f"ECO2_{name.upper()} has"):
        everything("prod", STRONG, **{name: value})


def test_where_a_process_runs_has_to_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECO2_ENVIRONMENT")
    with pytest.raises(SystemExit, match="ECO2_ENVIRONMENT: Field required"):
        load(Settings)


def test_a_rule_over_several_settings_is_said_without_an_empty_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Settings, DatabaseSettings):
        pass

    monkeypatch.setenv("ECO2_ENVIRONMENT", "prod")
    monkeypatch.setenv("ECO2_SERVICE_SECRET", SERVICE)
    monkeypatch.setenv("ECO2_DATABASE_URL", "postgresql://postgres:postgres@db/eco2")
    with pytest.raises(SystemExit) as raised:
        load(Mine)
    assert str(raised.value).splitlines()[1:] == [
        "  ECO2_DATABASE_URL has a password of less than 16 characters: generate one"
    ]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Settings, DatabaseSettings):
        pass

    monkeypatch.delenv("ECO2_DATABASE_URL", raising=False)
    with pytest.raises(SystemExit, match="ECO2_DATABASE_URL"):
        load(Mine)


def test_groups_read_the_environment_under_one_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Settings, DatabaseSettings):
        pass

    monkeypatch.setenv("ECO2_DATABASE_URL", "postgresql://a:b@c/d")
    assert load(Mine).database_url == "postgresql://a:b@c/d"


def test_the_process_table_has_no_port_twice_and_needs_what_exists() -> None:
    ports = [port for row in PROCESSES for port in (row.port, row.grpc_port) if port is not None]
    assert len(ports) == len(set(ports))
    names = {row.name for row in PROCESSES}
    assert all(set(row.needs) <= names for row in PROCESSES)
    assert process("scan-api") in SERVICES
    with pytest.raises(KeyError, match="known: postgres"):
        process("nothing")


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("0.5", 0.5), ("PT2M", 120)])
def test_durations_are_seconds_or_iso_8601(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv("ECO2_SHUTDOWN_GRACE", text)
    assert load(Settings).shutdown_grace.total_seconds() == seconds


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECO2_PORT", "")
    assert load(Settings).port == 8000
