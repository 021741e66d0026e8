"""Scenarios of scheduled work: the statistics of a day of five million scans, the memory of a backup of a gigabyte.

They fill a database of their own on the stack's server first, which takes longer than the measurement.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import psutil
import psycopg

from eco2 import knowledge
from eco2.core import migrations
from eco2.core.postgres import open_database
from eco2.core.settings import DatabaseSettings
from eco2.jobs import backup, stats
from eco2.jobs.settings import BackupSettings
from eco2.scan import outputs, stages
from eco2.scan.outputs import Answer, Candidate, VisionResult
from tests.databases import new_database
from tests.load.bench import Bench
from tests.load.report import Measure

DAY = date(2026, 11, 24)
SCANS, SCANS_QUICK = 5_000_000, 250_000
WRITERS = 2
PAYLOAD, PAYLOAD_QUICK = 1_000_000_000, 100_000_000

FILL = """
INSERT INTO scan.jobs (
    id, user_id, image_key, status, vision, rule, answer, reward, created_at, enqueued_at, finished_at)
SELECT gen_random_uuid(), md5((n %% %(users)s)::text)::uuid, 'scan/' || n,
       CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'completed' END,
       jsonb_set(t.vision, '{source}', CASE WHEN n %% 10 < 7 THEN '"exact"' ELSE '"model"' END::jsonb),
       t.rule, t.answer, t.reward, at, at, at + random() * interval '5 seconds'
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
CROSS JOIN LATERAL (SELECT %(start)s::timestamptz + n * interval '86000 seconds' / %(all)s AS at) w
JOIN bench_templates t ON t.id = n %% %(templates)s
"""


@asynccontextmanager
async def _database(bench: Bench) -> AsyncIterator[str]:
    """URL of a migrated database on the stack's server, gone afterwards."""
    with new_database(bench.target.environment["ECO2_DATABASE_URL"], "bench") as url:
        await asyncio.to_thread(migrations.upgrade, url)
        yield url


def templates() -> list[tuple[str, str, str, str | None]]:
    """(vision, rule, answer, reward) as the pipeline stores them, for every item with and without words."""
    base = knowledge.load()
    found = []
    for item, said in product(base.items.values(), (None, "라벨을 못 뗐어요")):
        guesses = (Candidate(item.id, 0.9), Candidate("newspaper", 0.06))
        vision = VisionResult(item.id, 0.9, guesses, needs_choice=False, waste=True, model="gpt-5-mini")
        rule = stages.rule_of(base, item, said)
        answer = Answer.of(stages.answer(base, rule, said), "model")
        reward = stages.reward(base, rule, answer)
        stored = (outputs.dumps(one).decode() if one is not None else None for one in (vision, rule, answer, reward))
        found.append(tuple(stored))
    return found  # type: ignore[return-value]


async def _fill(url: str, scans: int) -> None:
    stored = templates()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        for table in ("feedback", "jobs"):  # what refers to an unlogged table may not be logged
            await db.execute(f"ALTER TABLE scan.{table} SET UNLOGGED".encode())
        await db.execute("ALTER TABLE scan.jobs DROP CONSTRAINT uq_jobs_user_id_idempotency_key")
        await db.execute("DROP INDEX scan.ix_jobs_user_id_created_at")
        await db.execute(
            "CREATE TABLE bench_templates (id bigint, vision jsonb, rule jsonb, answer jsonb, reward jsonb)"
        )
        async with db.cursor() as cursor:
            rows = [(n, *row) for n, row in enumerate(stored)]
            await cursor.executemany("INSERT INTO bench_templates VALUES (%s, %s, %s, %s, %s)", rows)
    share = scans // WRITERS
    await asyncio.gather(*(_write(url, n * share, (n + 1) * share - 1, scans, len(stored)) for n in range(WRITERS)))
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await db.execute("CREATE INDEX ix_jobs_user_id_created_at ON scan.jobs (user_id, created_at)")
        await db.execute("VACUUM ANALYZE scan.jobs")


async def _write(url: str, first: int, last: int, scans: int, templates: int) -> None:
    start, _ = stats.bounds(DAY)
    values = {"start": start, "all": scans, "users": max(1, scans // 4), "templates": templates}
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await db.execute(FILL, {**values, "first": first, "last": last})


async def daily_stats(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """Everything that `analytics.daily` computes, over a table whose scans are all of that day: the worst there is."""
    scans = bench.sized(SCANS, SCANS_QUICK)
    async with _database(bench) as url:
        start = time.monotonic()
        await _fill(url, scans)
        filled = time.monotonic() - start
        async with await psycopg.AsyncConnection.connect(url) as db:
            row = await (await db.execute("SELECT pg_table_size('scan.jobs')")).fetchone()
        rounds = []
        for _ in range(2):
            start = time.monotonic()
            async with open_database(DatabaseSettings(database_url=url), repeat=False) as own, own.transaction() as tx:
                found = await stats.compute(tx, DAY)
            rounds.append(time.monotonic() - start)
        if found["scans", "submitted"] != scans:
            raise RuntimeError(f"counted {found['scans', 'submitted']} of {scans} scans")
    details: dict[str, Any] = {"scans": scans, "table_mb": round(row[0] / 1e6) if row else None}
    details |= {"rounds_s": [round(one, 1) for one in rounds], "filled_in_s": round(filled)}
    details["users"], details["figures"] = int(found["users", "active"]), len(found)
    return [Measure("daily_stats_5m", max(rounds), details)]


class _Peak:
    """The most memory (USS) that this process has used beyond what it had, and each kind of program that it started."""

    def __init__(self) -> None:
        self._self = psutil.Process()
        self._before = self._self.memory_full_info().uss
        self.own = 0.0
        self.programs: dict[str, float] = {}

    async def watch(self) -> None:
        while True:
            self.own = max(self.own, (self._self.memory_full_info().uss - self._before) / 1e6)
            for child in self._self.children(recursive=True):
                try:
                    name, used = child.name(), child.memory_full_info().uss / 1e6
                except psutil.Error:
                    continue
                if name in ("pg_dump", "pg_restore"):
                    self.programs[name] = max(self.programs.get(name, 0), used)
            await asyncio.sleep(0.1)


async def backup_memory(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """Dump, encrypt, store, read back, decrypt and restore a gigabyte that does not compress, in this process."""
    size = bench.sized(PAYLOAD, PAYLOAD_QUICK)
    async with _database(bench) as url:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
            await db.execute("CREATE TABLE jobs.bench_payload (id bigint, data bytea)")
            await db.execute("ALTER TABLE jobs.bench_payload SET UNLOGGED")
            await db.execute("ALTER TABLE jobs.bench_payload ALTER data SET STORAGE EXTERNAL")
            random = "decode(string_agg(md5(random()::text || n || m), ''), 'hex')"
            rows = f"SELECT n, (SELECT {random} FROM generate_series(1, 6250) m) FROM generate_series(1, %s) n"
            await db.execute(f"INSERT INTO jobs.bench_payload {rows}".encode(), [size // 100_000])
        known = {key.removeprefix("ECO2_").lower(): value for key, value in bench.target.environment.items()}
        known["database_url"] = url
        settings = BackupSettings(**{name: known[name] for name in BackupSettings.model_fields if name in known})  # type: ignore[arg-type]
        peak = _Peak()
        watching = asyncio.create_task(peak.watch())
        start = time.monotonic()
        note = await backup.make(settings, datetime.now(UTC))
        seconds = time.monotonic() - start
        watching.cancel()
    details = {"bytes": note["bytes"], "seconds": round(seconds, 1), "mb_per_second": round(size / 1e6 / seconds, 1)}
    programs = {name: round(used, 1) for name, used in peak.programs.items()}
    total = peak.own + sum(peak.programs.values())
    return [Measure("backup_memory", total, {**details, "python_mb": round(peak.own, 1), "programs_mb": programs})]
