"""Everything from a backup on an empty machine, by the commands of docs/runbooks/restore.md as they stand there."""

import asyncio
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import obstore
import psycopg

from eco2.core.settings import OpsStorageSettings
from eco2.core.storage import s3_store
from eco2.jobs.backup import PREFIX
from eco2.local.config import CHECKOUT
from tests.drills.machine import DrillFailed, Machine, machine, require, step

RUNBOOK = CHECKOUT / "docs" / "runbooks" / "restore.md"
SECTION = re.compile(r"^## Local stack\n(.*?)^## ", re.M | re.S)
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
PEOPLE = ("first", "second", "third")
PHOTOS = ("coffee.jpg",)
IDENTITY = "identity"
KEPT = ("auth", "character", "chat", "image", "scan", "users")
"""Schemas with what belongs to users. The others are filled by the platform itself (places, news, runs)."""
FINGERPRINT = """
SELECT format('SELECT %%L, count(*), coalesce(md5(string_agg(t::text, E''\\n'' ORDER BY t::text)), '''')'
              ' FROM %%I.%%I t',
              table_schema || '.' || table_name, table_schema, table_name)
FROM information_schema.tables WHERE table_schema = ANY(%(schemas)s) AND table_type = 'BASE TABLE' ORDER BY 1"""


async def restore() -> None:
    with TemporaryDirectory(prefix="eco2-drill-") as elsewhere:
        shelf = Path(elsewhere)
        async with machine("lost") as first:
            before, name = await _live_and_back_up(first, shelf)
            await first.run("eco2 down")
        step("the machine is lost, with its database, photos and keys; the backup and its identity are left")
        async with machine("empty") as second:
            await _bring_back(second, shelf, name)
            await _compare(second, before)


async def _live_and_back_up(at: Machine, shelf: Path) -> tuple[dict[str, tuple[int, str]], str]:
    """Rows by table as of the backup, and its name; the archive is in `shelf` then."""
    step("a stack on which people scan, talk and report")
    await at.run("eco2 up")
    for who in PEOPLE:
        for photo in PHOTOS:
            await at.run(f"eco2 scan data/demo/{photo} --user {who}")
    await _talk(at)
    await _settled(at)
    before = await _fingerprint(at)
    step("a backup, copied off the machine with its identity, which an operator has in a safe")
    await at.eco2("backup run")
    names = await _copied(at, shelf)
    require(len(names) == 1, f"one backup was expected: {sorted(names)}")
    return before, names.pop()


async def _copied(at: Machine, shelf: Path) -> set[str]:
    """Names of the backups of a machine, whose objects and identity are in `shelf` now."""
    (shelf / IDENTITY).write_text(at.layout.credentials.backup_identity)
    store = _ops(at)
    keys = [str(row["path"]) async for chunk in obstore.list(store, PREFIX) for row in chunk]
    for key in keys:
        content = await (await obstore.get_async(store, key)).bytes_async()
        (shelf / key.removeprefix(PREFIX)).write_bytes(bytes(content))
    return {key.removeprefix(PREFIX).partition(".")[0] for key in keys}


async def _put(at: Machine, shelf: Path) -> None:
    """Objects of `shelf`, in the bucket of a machine."""
    for path in sorted(shelf.iterdir()):  # noqa: ASYNC240 - two small files
        if path.name != IDENTITY:
            await obstore.put_async(_ops(at), f"{PREFIX}{path.name}", path.read_bytes())


async def _talk(at: Machine) -> None:
    """A chat with one answer."""
    user = at.target.users(1)[0]
    async with httpx2.AsyncClient(base_url=at.layout.public_url, headers=user.headers, timeout=60) as http:
        chat = (await http.post("/api/v1/chat")).raise_for_status().json()["id"]
        body, key = {"message": "캔은 어떻게 버려요?"}, {"X-Idempotency-Key": str(uuid.uuid4())}
        (await http.post(f"/api/v1/chat/{chat}/messages", json=body, headers=key)).raise_for_status()


async def _settled(at: Machine) -> None:
    """Wait until nothing of these people is under way: outboxes are empty, grants are written."""
    unfinished = """
    SELECT (SELECT count(*) FROM scan.jobs WHERE announced_at IS NULL)
         + (SELECT count(*) FROM chat.turns WHERE announced_at IS NULL) + (SELECT count(*) FROM users.outbox)"""
    async with await psycopg.AsyncConnection.connect(_database(at), autocommit=True) as db:
        for _ in range(60):
            row = await (await db.execute(unfinished)).fetchone()
            if row is not None and not row[0]:
                await asyncio.sleep(3)  # grants have no row that says they are due
                return
            await asyncio.sleep(1)
    raise DrillFailed("scans and chats of the drill did not end")


async def _fingerprint(at: Machine) -> dict[str, tuple[int, str]]:
    """Table → number of rows and hash of them all."""
    async with await psycopg.AsyncConnection.connect(_database(at), autocommit=True) as db:
        statements = await (await db.execute(FINGERPRINT, {"schemas": list(KEPT)})).fetchall()
        found = {}
        for (statement,) in statements:
            row = await (await db.execute(statement)).fetchone()
            assert row is not None, "an aggregate has a row"
            found[str(row[0])] = (int(row[1]), str(row[2]))
    return found


def _database(at: Machine) -> str:
    return at.target.environment["ECO2_DATABASE_URL"]


def _ops(at: Machine) -> "obstore.store.S3Store":
    names = {name: f"ECO2_{name.upper()}" for name in OpsStorageSettings.model_fields}
    environment = at.target.environment
    settings = OpsStorageSettings.model_validate(
        {name: environment[key] for name, key in names.items() if key in environment}
    )
    return s3_store(settings, settings.storage_endpoint, settings.ops_bucket)


async def _bring_back(at: Machine, shelf: Path, name: str) -> None:
    step("an empty machine, and the backup in its bucket")
    await at.run("eco2 up")
    await _put(at, shelf)
    step(f"the steps of {RUNBOOK.relative_to(CHECKOUT)}")
    section = SECTION.search(RUNBOOK.read_text())
    require(section is not None, f"{RUNBOOK.name} has no section for the local stack")
    assert section is not None
    script = "\n".join(BLOCK.findall(section[1]))
    restoring = f"eco2 backup restore {name} --identity {shelf / IDENTITY} "
    require("eco2 backup restore NAME " in script, f"{RUNBOOK.name} does not restore")
    await at.run(script.replace("eco2 backup restore NAME ", restoring))


async def _compare(at: Machine, before: Mapping[str, tuple[int, str]]) -> None:
    after = await _fingerprint(at)
    other = {name: (before.get(name), after.get(name)) for name in before.keys() | after.keys()}
    other = {name: pair for name, pair in other.items() if pair[0] != pair[1]}
    require(not other, f"tables that are not as they were: {other}")
    rows = sum(count for count, _ in after.values())
    step(f"{rows} rows of {len(after)} tables are as they were")
    for who in PEOPLE:
        await at.run(f"eco2 scan data/demo/{PHOTOS[0]} --user {who}")
    step("and people scan again")
