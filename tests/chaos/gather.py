"""Collect what database, broker and the emulated model hold once a run is over."""

import asyncio
import time
from typing import Any

import aio_pika
import httpx2
import psycopg
from psycopg.rows import dict_row

from eco2.contracts.queues import DEAD_LETTER_QUEUES, VHOST
from eco2.local.stack import management
from tests.chaos.evidence import Evidence, JobRow
from tests.chaos.faults import ALL_WORK, PURPOSES, USUAL
from tests.load.target import Target

UNFINISHED = """
SELECT (SELECT count(*) FROM scan.jobs
         WHERE status IN ('queued', 'processing') OR (status IN ('completed', 'failed') AND announced_at IS NULL))
     + (SELECT count(*) FROM chat.turns WHERE finished_at IS NULL OR announced_at IS NULL) AS unfinished"""


async def prepare(at: Target) -> None:
    async with httpx2.AsyncClient(base_url=at.emulator_url or "", timeout=10) as http:
        (await http.post("/_control", json=dict.fromkeys(PURPOSES, USUAL))).raise_for_status()


async def quiet(at: Target, evidence: Evidence, seconds: float) -> None:
    """Wait until nothing is under way, or `seconds`; the audit names what is left."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.sleep(1)
        async with await _database(at) as db:
            row = await (await db.execute(UNFINISHED)).fetchone()
        await _queues(at, evidence)
        if row is not None and not row["unfinished"] and not any(evidence.waiting.values()):
            return


async def collect(at: Target, evidence: Evidence) -> None:
    await _queues(at, evidence)
    await _dead_letters(at, evidence)
    if at.emulator_url is not None:
        async with httpx2.AsyncClient(base_url=at.emulator_url, timeout=30) as http:
            evidence.calls = (await http.get("/_calls")).raise_for_status().json()["jobs"]
    async with await _database(at) as db:
        found = await db.execute(
            """SELECT id::text, user_id::text AS user, status, announced_at IS NOT NULL AS announced,
                      character_code AS reward FROM scan.jobs"""
        )
        async for row in found:
            evidence.jobs[row["id"]] = JobRow(**row)
        async for row in await db.execute("SELECT id::text, status FROM chat.turns"):
            evidence.turn_states[row["id"]] = row["status"]
        async for row in await db.execute("SELECT user_id::text, character_code FROM character.ownerships"):
            evidence.owned.add((row["user_id"], row["character_code"]))
        evidence.points = [row["job_id"] async for row in await db.execute("SELECT job_id::text FROM character.points")]
        async for row in await db.execute("SELECT kind, count(*) FROM users.outbox GROUP BY kind"):
            evidence.unsent[f"users.outbox {row['kind']}"] = row["count"]


async def _database(at: Target) -> "psycopg.AsyncConnection[dict[str, Any]]":
    url = at.environment["ECO2_DATABASE_URL"]
    return await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row)


async def _queues(at: Target, evidence: Evidence) -> None:
    api = management(at.layout)
    async with httpx2.AsyncClient(base_url=api.url, auth=(api.user, api.password), timeout=10) as http:
        for vhost, queue in ALL_WORK:
            row = (await http.get(f"/api/queues/{vhost}/{queue}")).raise_for_status().json()
            evidence.waiting[f"{vhost} {queue}"] = int(row.get("messages", 0))


async def _dead_letters(at: Target, evidence: Evidence) -> None:
    """Read the letters and put them back."""
    async with await aio_pika.connect(at.environment["ECO2_BROKER_URL"]) as connection:
        channel = await connection.channel()
        for queue in DEAD_LETTER_QUEUES:
            letters = evidence.dead[f"{VHOST} {queue.name}"] = []
            source = await channel.get_queue(queue.name)
            while (letter := await source.get(no_ack=False, fail=False)) is not None:
                letters.append(str(letter.message_id))
