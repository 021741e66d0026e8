"""Upload keys, settings and the small contracts."""

import uuid

import pytest
from pydantic import ValidationError

from eco2.contracts import uploads
from eco2.contracts.events import SHARDS, Draft, Stage, Status, shard_key, shard_keys
from eco2.core.settings import BrokerSettings, DatabaseSettings, Settings, load
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
