"""Backups: proven, private, refused when damaged, never worse than before when something fails."""

import asyncio
import secrets
import stat
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import psycopg
import pyrage
import pytest
from aiohttp import web
from typer.testing import CliRunner

from eco2.cli.main import app
from eco2.core.postgres import Database
from eco2.jobs import backup, store
from eco2.jobs.objects import OpsStore, OpsStoreDown
from eco2.jobs.settings import BackupSettings
from eco2.local import servers
from tests.databases import new_database
from tests.redis_server import free_port

NOW = datetime(2026, 11, 25, 17, tzinfo=UTC)


@dataclass(frozen=True)
class Safe:
    """A bucket of its own, the settings that use it, and the operator's identity."""

    settings: BackupSettings
    identity: Any
    url: str

    @property
    def store(self) -> Any:
        return OpsStore(self.settings).raw

    async def keys(self) -> list[str]:
        return [row.key for row in await OpsStore(self.settings).listed(backup.PREFIX)]


@pytest.fixture(scope="module")
def bucket(environment: dict[str, str]) -> str:
    """One for all tests: the local object store sets much room apart for each bucket."""
    name = f"ops-{uuid.uuid4().hex[:8]}"
    servers.setup_buckets({**environment, "ECO2_OPS_BUCKET": name})
    return name


@pytest.fixture
async def safe(environment: dict[str, str], database_url: str, own: Database, bucket: str) -> Safe:
    env = {**environment, "ECO2_OPS_BUCKET": bucket}
    identity = pyrage.x25519.Identity.generate()
    known: dict[str, Any] = {name.removeprefix("ECO2_").lower(): value for name, value in env.items()}
    known |= {"database_url": database_url, "backup_recipient": str(identity.to_public())}
    settings = BackupSettings(**{name: known[name] for name in BackupSettings.model_fields if name in known})
    async with own.transaction() as tx:
        for n in range(50):
            # Half a megabyte that does not compress: a restore is well under way when it meets the damage.
            await store.add(tx, f"run-{n}", "cleanup.cache", secrets.token_hex(10_000))
    made = Safe(settings, identity, database_url)
    for key in await made.keys():
        await OpsStore(settings).delete(key)
    return made


@pytest.fixture
def empty(environment: dict[str, str]) -> Iterator[str]:
    """URL of a new, empty database."""
    with new_database(environment["ECO2_DATABASE_URL"], "empty") as url:
        yield url


def count(url: str, table: str) -> int:
    with psycopg.connect(url) as db:
        row = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(row[0]) if row else 0


def scratches(url: str) -> list[str]:
    with psycopg.connect(url) as db:
        found = db.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [backup.SCRATCH])
        return [row[0] for row in found.fetchall()]


async def test_a_backup_is_proven_listed_encrypted_and_can_be_restored(safe: Safe, empty: str) -> None:
    note = await backup.make(safe.settings, NOW)
    assert note["rows"]["jobs.runs"] == 50
    (listed,) = await backup.shelf(safe.settings)
    assert (listed.name, listed.proven, listed.size) == ("2026-11-25T17-00-00Z", True, note["bytes"])
    archive = bytes(obstore.get(safe.store, f"backups/{listed.name}.dump.age").bytes())
    assert archive.startswith(b"age-encryption.org/v1")
    assert b"PGDMP" not in archive
    assert pyrage.decrypt(archive, [safe.identity]).startswith(b"PGDMP")
    rows = await backup.restore(safe.settings, listed.name, empty, safe.identity)
    assert rows == note["rows"]
    assert count(empty, "jobs.runs") == 50
    assert count(empty, "public.alembic_version") == 1
    assert scratches(safe.url) == []


async def test_nobody_reads_the_bucket_without_a_key(safe: Safe) -> None:
    import httpx2

    await backup.make(safe.settings, NOW)
    url = f"{safe.settings.storage_endpoint}/{safe.settings.ops_bucket}"
    async with httpx2.AsyncClient() as stranger:
        for path in ("", "/backups/2026-11-25T17-00-00Z.json", "/backups/2026-11-25T17-00-00Z.dump.age"):
            assert (await stranger.get(url + path)).status_code == 403, path


async def test_an_archive_is_read_in_parts_of_one_and_the_same_object(safe: Safe) -> None:
    data = secrets.token_bytes(backup.READ_BYTES + 1000)
    obstore.put(safe.store, "postgres/parts", data)
    source = backup._Source(safe.store, "postgres/parts")
    read = source.read(10) + source.read()
    while part := source.read(5_000_000):
        read += part
    assert read == data
    half = backup._Source(safe.store, "postgres/parts")
    half.read()
    obstore.put(safe.store, "postgres/parts", secrets.token_bytes(len(data)))
    with pytest.raises(obstore.exceptions.PreconditionError):
        half.read()


@pytest.mark.slow
async def test_an_archive_may_be_read_for_longer_than_a_request_may_take(safe: Safe) -> None:
    """As pg_restore does with a large one: it takes what comes at its own pace."""
    size = 8 * backup.READ_BYTES
    obstore.put(safe.store, "postgres/slow", bytes(size))
    source = backup._Source(safe.store, "postgres/slow")
    read = len(source.read())
    await asyncio.sleep(21)
    while part := source.read():
        read += len(part)
    assert read == size


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "head"])
async def test_a_damaged_archive_restores_nothing(safe: Safe, empty: str, damage: str) -> None:
    name = (await backup.make(safe.settings, NOW))["name"]
    key = f"backups/{name}.dump.age"
    data = bytearray(obstore.get(safe.store, key).bytes())
    if damage == "flipped":
        data[-len(data) // 3] ^= 1
    elif damage == "head":
        data[30] ^= 1
    else:
        data = data[: len(data) * 2 // 3] if damage == "cut" else bytearray()
    obstore.put(safe.store, key, bytes(data))
    with pytest.raises(backup.ArchiveDamaged, match="nothing was restored"):
        await backup.restore(safe.settings, name, empty, safe.identity)
    with psycopg.connect(empty) as db:
        assert db.execute("SELECT to_regclass('jobs.runs')").fetchone() == (None,)


async def test_a_store_that_breaks_off_restores_nothing(
    safe: Safe, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = (await backup.make(safe.settings, NOW))["name"]
    whole, parts = backup._Source._part, 0

    def breaking(source: backup._Source) -> memoryview:
        nonlocal parts
        parts += 1
        if parts > 3:
            raise obstore.exceptions.GenericError("connection reset")
        return whole(source)

    monkeypatch.setattr(backup, "READ_BYTES", 1024)
    monkeypatch.setattr(backup._Source, "_part", breaking)
    with pytest.raises(OpsStoreDown, match="nothing was restored"):
        await backup.restore(safe.settings, name, empty, safe.identity)
    with psycopg.connect(empty) as db:
        assert db.execute("SELECT to_regclass('jobs.runs')").fetchone() == (None,)


async def test_another_key_opens_nothing(safe: Safe, empty: str) -> None:
    name = (await backup.make(safe.settings, NOW))["name"]
    with pytest.raises(backup.ArchiveDamaged, match="not for this key"):
        await backup.restore(safe.settings, name, empty, pyrage.x25519.Identity.generate())


async def test_a_database_in_use_is_never_restored_into(safe: Safe) -> None:
    name = (await backup.make(safe.settings, NOW))["name"]
    with pytest.raises(backup.NotEmpty, match=r"jobs.*--into postgresql://eco2:\*\*\*@127.*/eco2_restored"):
        await backup.restore(safe.settings, name, safe.url, safe.identity)
    with pytest.raises(backup.BackupNotFound):
        await backup.restore(safe.settings, "2020-01-01T00-00-00Z", safe.url, safe.identity)


async def test_what_differs_from_the_snapshot_is_not_proven_and_not_kept(
    safe: Safe, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = backup.prove

    async def altered(settings: BackupSettings, key: str, expected: dict[str, int], identity: Any) -> None:
        await real(settings, key, {**expected, "jobs.runs": 51}, identity)

    monkeypatch.setattr(backup, "prove", altered)
    with pytest.raises(backup.NotProven, match=r"jobs\.runs"):
        await backup.make(safe.settings, NOW)
    assert await safe.keys() == []
    assert scratches(safe.url) == []


async def test_a_dump_that_breaks_off_is_no_backup(safe: Safe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "pg_dump"
    fake.write_text("#!/bin/sh\nhead -c 100000 /dev/zero\necho 'pg_dump: error: connection lost' >&2\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(backup.DumpFailed, match="connection lost"):
        await backup.make(safe.settings, NOW)
    assert await safe.keys() == []


@asynccontextmanager
async def full_store() -> AsyncIterator[str]:
    """An S3 endpoint whose disk is full."""

    async def refuse(_request: web.Request) -> web.Response:
        text = "<Error><Code>QuotaExceeded</Code><Message>the disk is full</Message></Error>"
        return web.Response(status=403, text=text, content_type="application/xml")

    server = web.Application(client_max_size=2**30)
    server.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(server)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_a_full_target_is_said_and_old_backups_stay(safe: Safe) -> None:
    await backup.make(safe.settings, NOW)
    async with full_store() as endpoint:
        full = safe.settings.model_copy(update={"storage_endpoint": endpoint})
        with pytest.raises(OpsStoreDown, match=r"refused the backup .*(QuotaExceeded|the disk is full)"):
            await backup.make(full, NOW + timedelta(days=1))
    assert [b.name for b in await backup.shelf(safe.settings)] == ["2026-11-25T17-00-00Z"]


async def test_what_died_runs_left_is_cleared_away(safe: Safe) -> None:
    left = f"{backup.SCRATCH}left"
    with psycopg.connect(safe.url, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {left}")
    for age, key in ((3, "2026-11-22T17-00-00Z"), (1, "2026-11-24T17-00-00Z")):
        assert NOW - timedelta(days=age) == datetime.strptime(key, "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
        obstore.put(safe.store, f"backups/{key}.dump.age", b"half")
    note = await backup.make(safe.settings, NOW)
    assert note["deleted"] == ["2026-11-22T17-00-00Z"]
    assert scratches(safe.url) == []
    states = {b.name: b.proven for b in await backup.shelf(safe.settings)}
    assert states == {"2026-11-25T17-00-00Z": True, "2026-11-24T17-00-00Z": False}


async def test_retention_deletes_archive_and_note(safe: Safe) -> None:
    settings = safe.settings.model_copy(
        update={"backup_keep_daily": 2, "backup_keep_weekly": 0, "backup_keep_monthly": 0}
    )
    for day in range(4):
        await backup.make(settings, NOW + timedelta(days=day))
    names = ["2026-11-27T17-00-00Z", "2026-11-28T17-00-00Z"]
    assert await safe.keys() == [f"backups/{name}{suffix}" for name in names for suffix in (".dump.age", ".json")]


async def test_a_recipient_that_is_none_is_said(safe: Safe) -> None:
    with pytest.raises(backup.KeyRefused, match="ECO2_BACKUP_RECIPIENT"):
        await backup.make(safe.settings.model_copy(update={"backup_recipient": "age1nonsense"}), NOW)


async def test_the_operators_commands(safe: Safe, empty: str, environment: dict[str, str], tmp_path: Path) -> None:
    env = {**environment, "ECO2_OPS_BUCKET": safe.settings.ops_bucket, "ECO2_DATABASE_URL": safe.url}
    env["ECO2_BACKUP_RECIPIENT"] = safe.settings.backup_recipient

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["backup", *arguments], env=env)

    made = await asyncio.to_thread(run, "run")
    assert made.exit_code == 0, made.output
    assert "proven" in made.stdout
    name = made.stdout.split(":")[0].strip().splitlines()[-1]
    assert name in (await asyncio.to_thread(run, "list")).stdout
    key = tmp_path / "identity"
    key.write_text(f"# the operator's\n{safe.identity}\n")
    done = await asyncio.to_thread(run, "restore", name, "--into", empty, "--identity", str(key))
    assert done.exit_code == 0, done.output
    again = await asyncio.to_thread(run, "restore", name, "--into", empty, "--identity", str(key))
    assert (again.exit_code, "new database" in again.stderr) == (1, True)
    key.write_text("nothing here")
    bad = await asyncio.to_thread(run, "restore", name, "--into", empty, "--identity", str(key))
    assert (bad.exit_code, "no age identity" in bad.stderr) == (1, True)
    away = await asyncio.to_thread(run, "restore", name, "--into", "postgresql://a:b@127.0.0.1:1/x")
    assert (away.exit_code, "does not answer" in away.stderr) == (1, True)
