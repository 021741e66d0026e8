"""Backups of the database: dumped, encrypted, stored and proven in one pass each, with bounded memory.

`pg_dump` → age → multipart upload, as streams: nothing is ever whole in memory or on disk. A backup counts only when it
has been read back, decrypted and restored into a scratch database whose tables have as many rows as the snapshot had
that was dumped. Then its note (`NAME.json`) is written, and what is older than the retention wants is deleted.

The archive is encrypted for the operator's age key, of which this process has the public half, and for a key that lives
as long as this run, so that it can be proven. An attacker on the worker can read the database, but no older backup.
"""

import asyncio
import hashlib
import logging
import os
import secrets
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Any, Protocol

import obstore
import orjson
import psycopg
import pyrage
from psycopg import sql
from sqlalchemy.engine import make_url

from eco2.contracts.tasks import Outcome
from eco2.core.errors import AppError, BadRequest, NotFound, Unavailable
from eco2.jobs.objects import OpsStore, OpsStoreDown, refusals
from eco2.jobs.settings import BackupSettings

log = logging.getLogger(__name__)

PREFIX = "backups/"
DUMP, NOTE = ".dump.age", ".json"
PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 2
READ_BYTES = 8 * 1024 * 1024
BACKUP_LOCK = 0x6261636B
SCRATCH = "eco2_proof_"
ABANDONED = timedelta(days=2)
"""Age at which an archive without a note, left by a run that died, is deleted."""


class DumpFailed(Unavailable):
    """The database could not be dumped."""

    code = "DUMP_FAILED"


class ArchiveDamaged(AppError):
    """The archive is damaged, or is not for this key; nothing was restored."""

    code = "ARCHIVE_DAMAGED"


class RestoreFailed(AppError):
    """The archive could not be restored; the target is as it was before."""

    code = "RESTORE_FAILED"


class NotProven(AppError):
    """The restored copy differs from the database that was dumped; the archive is not kept."""

    code = "BACKUP_NOT_PROVEN"


class NotEmpty(BadRequest):
    """The target holds tables of ours already: restore into a new database."""

    code = "TARGET_NOT_EMPTY"


class BackupNotFound(NotFound):
    """There is no such backup; `eco2 backup list` shows them."""

    code = "BACKUP_NOT_FOUND"


class KeyRefused(BadRequest):
    """This is no age key: a recipient begins with age1, an identity with AGE-SECRET-KEY-1."""

    code = "BAD_AGE_KEY"


class _Sink(Protocol):
    def write(self, data: bytes, /) -> int: ...


# --- streams ----------------------------------------------------------------------------------------------------------


class _Counted:
    """Counts and digests what passes."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self.size += len(data)
        self._sink.write(data)
        return len(data)

    def flush(self) -> None:
        """Parts go up when they are full; the last one at the end."""

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class _Source:
    """An object as a file that is read from its beginning to its end, a part with each request.

    One request for all of it would have to end within the time that the store's client gives any request.
    FileNotFoundError.
    """

    def __init__(self, store: Any, key: str) -> None:
        meta = obstore.head(store, key)
        self._store, self._key = store, key
        self._size, self._version = meta["size"], meta["e_tag"]
        self._at = 0
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        if not self._rest and self._at < self._size:
            self._rest = self._part()
        taken = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return bytes(taken)

    def _part(self) -> memoryview:
        end = min(self._at + READ_BYTES, self._size)
        options: Any = {"range": (self._at, end), "if_match": self._version}
        part = memoryview(bytes(obstore.get(self._store, self._key, options=options).bytes()))
        self._at = end
        return part


def _environment(database_url: str) -> dict[str, str]:
    """libpq's variables, so that no password is among the arguments of a process."""
    url = make_url(database_url)
    named = {
        "PGHOST": url.host,
        "PGPORT": str(url.port or 5432),
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
        "PGCONNECT_TIMEOUT": "10",
    }
    return {"PATH": os.environ.get("PATH", ""), **{name: str(value) for name, value in named.items() if value}}


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def upload_dump(settings: BackupSettings, key: str, what: Sequence[str], recipients: Sequence[Any]) -> _Counted:
    """Dump, encrypt and store in one pass; the counts of the stored rows. An incomplete backup is deleted again."""
    store = OpsStore(settings).raw
    command = ["pg_dump", "--format=custom", "--no-owner", "--no-privileges", *what]
    with tempfile.TemporaryFile() as errors:
        environment = _environment(settings.database_url)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment) as process:
            try:
                with refusals(f"the backup {key}"):
                    counted = _encrypt_into(store, key, process, recipients)
            except BaseException:
                process.kill()
                _forget(store, key)
                raise
        if process.returncode != 0:
            _forget(store, key)
            raise DumpFailed(f"pg_dump failed: {_last_words(errors)}")
    return counted


def _encrypt_into(store: Any, key: str, process: "subprocess.Popen[bytes]", recipients: Sequence[Any]) -> _Counted:
    writer = obstore.open_writer(store, key, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
    counted = _Counted(writer)
    pyrage.encrypt_io(process.stdout, counted, recipients)
    writer.close()
    return counted


def _forget(store: Any, key: str) -> None:
    try:
        obstore.delete(store, key)
    except obstore.exceptions.BaseError as error:
        log.warning("an incomplete backup could not be deleted: %s", error, extra={"key": key})


def restore_dump(settings: BackupSettings, key: str, target_url: str, identities: Sequence[Any]) -> None:
    """Read, decrypt, restore, in one pass and one transaction: all of it or nothing. ArchiveDamaged, RestoreFailed."""
    # --clean drops the empty schema `public` that every new database has, which the archive makes, too.
    command = ["pg_restore", "--no-owner", "--no-privileges", "--clean", "--if-exists", "--exit-on-error"]
    command += ["--single-transaction", f"--dbname={make_url(target_url).database}"]
    source = _open(settings, key)
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors, env=_environment(target_url)) as process:
            _decrypt_into(process, source, identities, key)
        if process.returncode != 0:
            raise RestoreFailed(f"pg_restore failed, nothing was restored: {_last_words(errors)}")


def _decrypt_into(process: "subprocess.Popen[bytes]", source: _Source, identities: Sequence[Any], key: str) -> None:
    """Kill what breaks off, so that it cannot take what it has for the whole; its transaction is rolled back."""
    assert process.stdin is not None
    try:
        with process.stdin as sink:
            try:
                pyrage.decrypt_io(source, sink, identities)
            except BrokenPipeError:
                raise
            except BaseException:
                process.kill()
                raise
    except BrokenPipeError:
        return  # pg_restore has given up, and says why
    except pyrage.DecryptError as error:
        raise ArchiveDamaged(f"{key} is not for this key, or its head is damaged; nothing was restored.") from error
    except OSError as error:
        raise ArchiveDamaged(f"{key} is damaged or cut off ({error}); nothing was restored.") from error
    except obstore.exceptions.BaseError as error:
        reason = str(error).partition("Debug source")[0].strip()
        raise OpsStoreDown(f"The object store broke off {key} ({reason}); nothing was restored.") from error


def _open(settings: BackupSettings, key: str) -> _Source:
    try:
        return _Source(OpsStore(settings).raw, key)
    except FileNotFoundError:
        raise BackupNotFound(f"There is no archive {key}.") from None


# --- one backup -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Snapshot:
    """One moment of the database: its exported id, our schemas, and the rows of each table then."""

    id: str
    schemas: tuple[str, ...]
    rows: Mapping[str, int]


_SCHEMAS = """
SELECT nspname FROM pg_namespace n
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
  AND EXISTS (
    SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p') AND NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'))
ORDER BY 1
"""
"""Schemas with tables that do not belong to an extension."""
_TABLES = """
SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s) ORDER BY 1, 2
"""


async def _count(db: psycopg.AsyncConnection[Any]) -> tuple[tuple[str, ...], dict[str, int]]:
    """(our schemas, rows of each of their tables)."""
    schemas = tuple(row[0] for row in await (await db.execute(_SCHEMAS)).fetchall())
    tables = await (await db.execute(_TABLES, [list(schemas)])).fetchall()
    rows = {}
    for schema, name in tables:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, name))
        found = await (await db.execute(query)).fetchone()
        rows[f"{schema}.{name}"] = int(found[0]) if found else 0
    return schemas, rows


@asynccontextmanager
async def snapshot(database_url: str) -> AsyncIterator[Snapshot]:
    """Keep the snapshot open for as long as the block lasts, so that pg_dump sees the counted rows."""
    async with await psycopg.AsyncConnection.connect(database_url, connect_timeout=10) as db:
        await db.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await db.set_read_only(True)
        row = await (await db.execute("SELECT pg_export_snapshot()")).fetchone()
        schemas, rows = await _count(db)
        assert row is not None
        yield Snapshot(row[0], schemas, rows)


@asynccontextmanager
async def scratch(settings: BackupSettings) -> AsyncIterator[str]:
    """URL of an empty database that is dropped afterwards, like leftovers of earlier crashes."""
    url = make_url(settings.database_url)
    name = f"{SCRATCH}{secrets.token_hex(4)}"
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as db:
        left = await db.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [SCRATCH])
        for old in await left.fetchall():
            await _drop(db, old[0])
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        await db.execute(create.format(sql.Identifier(name), sql.Identifier(settings.backup_template)))
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            try:
                await _drop(db, name)
            except psycopg.Error as error:  # the next run drops it; what happened meanwhile matters more
                log.warning("a scratch database was left behind: %s", error, extra={"database": name})


async def _drop(db: psycopg.AsyncConnection[Any], name: str) -> None:
    """Drop a database that only sessions of our own role use.

    Not `WITH (FORCE)`: where autovacuum is at work in the database, it wants the right to end the server's own
    processes. A plain DROP sends autovacuum away by itself and waits up to 5 s for it.
    """
    sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = current_user"
    await db.execute(sessions, [name])
    await db.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


async def prove(settings: BackupSettings, key: str, expected: Mapping[str, int], identity: Any) -> None:
    """Restore the stored archive and compare. NotProven, ArchiveDamaged, RestoreFailed."""
    async with scratch(settings) as url:
        await asyncio.to_thread(restore_dump, settings, key, url, [identity])
        async with await psycopg.AsyncConnection.connect(url) as db:
            _, rows = await _count(db)
    if rows != dict(expected):
        wrong = sorted(name for name in {*rows, *expected} if rows.get(name) != expected.get(name))
        raise NotProven(f"The restored copy differs in {', '.join(wrong)}; the archive is not kept.")


def a_recipient(text: str) -> Any:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise KeyRefused(f"ECO2_BACKUP_RECIPIENT is no age recipient ({error}).") from error


def an_identity(text: str) -> Any:
    try:
        return pyrage.x25519.Identity.from_str(text.strip())
    except pyrage.IdentityError as error:
        raise KeyRefused(f"This is no age identity ({error}).") from error


@asynccontextmanager
async def _alone(database_url: str) -> AsyncIterator[None]:
    """One backup at a time."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as db:
        await db.execute("SELECT pg_advisory_lock(%s)", [BACKUP_LOCK])
        yield


async def make(settings: BackupSettings, now: datetime) -> dict[str, Any]:
    """Dump, prove, write the note, and only then delete old backups; the note."""
    operator, own = a_recipient(settings.backup_recipient), pyrage.x25519.Identity.generate()
    name = f"{now.astimezone(UTC):%Y-%m-%dT%H-%M-%SZ}"
    key, objects = f"{PREFIX}{name}{DUMP}", OpsStore(settings)
    async with _alone(settings.database_url):
        async with snapshot(settings.database_url) as moment:
            what = [f"--snapshot={moment.id}", *(f"--schema={schema}" for schema in moment.schemas)]
            stored = await asyncio.to_thread(upload_dump, settings, key, what, [operator, own.to_public()])
        try:
            await prove(settings, key, moment.rows, own)
        except BaseException:
            await asyncio.to_thread(_forget, objects.raw, key)
            raise
        note = {
            "name": name,
            "created_at": now.astimezone(UTC).isoformat(timespec="seconds"),
            "bytes": stored.size,
            "sha256": stored.sha256,
            "rows": dict(moment.rows),
            "recipient": settings.backup_recipient,
            "proven_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        await objects.put(f"{PREFIX}{name}{NOTE}", orjson.dumps(note, option=orjson.OPT_INDENT_2), "application/json")
        deleted = await expire(settings, now)
    log.info("backup made", extra={"backup": name, "bytes": stored.size, "deleted": deleted})
    return {**note, "deleted": deleted}


async def run(_argument: str) -> Outcome:
    """`backup.database`."""
    note = await make(BackupSettings(), datetime.now(UTC))
    shown = ("name", "bytes", "sha256", "deleted")
    return Outcome({**{name: note[name] for name in shown}, "tables": len(note["rows"])})


# --- the shelf --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Backup:
    """`proven` is False while there is no note: the run that made it is not over, or died."""

    name: str
    made_at: datetime
    size: int
    proven: bool


async def shelf(settings: BackupSettings) -> list[Backup]:
    """All backups, the newest first."""
    found = {row.key.removeprefix(PREFIX): row for row in await OpsStore(settings).listed(PREFIX)}
    backups = []
    for key, row in found.items():
        if key.endswith(DUMP) and (made := _made_at(name := key.removesuffix(DUMP))):
            backups.append(Backup(name, made, row.size, f"{name}{NOTE}" in found))
    return sorted(backups, key=lambda backup: backup.made_at, reverse=True)


def _made_at(name: str) -> datetime | None:
    try:
        return datetime.strptime(name, "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


_PERIODS: tuple[tuple[str, Callable[[datetime], object]], ...] = (
    ("backup_keep_daily", lambda at: at.date()),
    ("backup_keep_weekly", lambda at: at.isocalendar()[:2]),
    ("backup_keep_monthly", lambda at: (at.year, at.month)),
)


def kept(backups: Collection[Backup], settings: BackupSettings) -> set[str]:
    """Names of the proven ones that stay: the newest of each of the last days, weeks and months that have one."""
    proven = sorted((b for b in backups if b.proven), key=lambda b: b.made_at, reverse=True)
    names: set[str] = set()
    for setting, period in _PERIODS:
        newest: dict[object, str] = {}
        for backup in proven:
            newest.setdefault(period(backup.made_at), backup.name)
        names.update(list(newest.values())[: getattr(settings, setting)])
    return names


async def expire(settings: BackupSettings, now: datetime) -> list[str]:
    """Delete backups past the retention, and abandoned ones; their names."""
    backups = await shelf(settings)
    stay = kept(backups, settings) | {b.name for b in backups if not b.proven and now - b.made_at < ABANDONED}
    gone = [backup.name for backup in backups if backup.name not in stay]
    for name in gone:
        # The note first: an archive without one is deleted by a later run, should this one die here.
        for suffix in (NOTE, DUMP):
            await OpsStore(settings).delete(f"{PREFIX}{name}{suffix}")
    return gone


async def restore(settings: BackupSettings, name: str, target_url: str, identity: Any) -> dict[str, int]:
    """Restore into a database without tables of ours; the rows of each table then."""
    if name not in {backup.name for backup in await shelf(settings)}:
        raise BackupNotFound(f"There is no backup {name!r}; `eco2 backup list` shows them.")
    async with await psycopg.AsyncConnection.connect(target_url, connect_timeout=10) as db:
        schemas, _ = await _count(db)
    if schemas:
        beside = make_url(target_url).set(database="eco2_restored").render_as_string()
        raise NotEmpty(
            f"The target holds tables already (in {', '.join(schemas)}); nothing was changed. Make a new database "
            f"beside it (CREATE DATABASE eco2_restored), restore with --into {beside}, then let the two change names: "
            "docs/runbooks/restore.md has the commands."
        )
    await asyncio.to_thread(restore_dump, settings, f"{PREFIX}{name}{DUMP}", target_url, [identity])
    async with await psycopg.AsyncConnection.connect(target_url) as db:
        return (await _count(db))[1]
