"""The day's figures from the rows of the day, as the database counts them; the report they become."""

import uuid
from datetime import date, datetime, timedelta
from typing import Any, LiteralString

import orjson
import pytest

from eco2.core import redis
from eco2.core.postgres import Database
from eco2.jobs import report, stats, store
from eco2.jobs.objects import OpsStore
from eco2.jobs.schedule import LOCAL
from eco2.jobs.settings import ReportSettings
from eco2.llm.budget import spent_key
from eco2.scan import cleanup
from eco2.scan.vision import cache, look_index

DAY = date(2026, 11, 24)
NOON = datetime(2026, 11, 24, 12, tzinfo=LOCAL)

INSERT: LiteralString = """
INSERT INTO scan.jobs (id, user_id, image_key, status, vision, rule, answer, reward, created_at, finished_at)
VALUES (%(id)s, %(user_id)s, 'k', %(status)s, %(vision)s::jsonb, %(rule)s::jsonb, %(answer)s::jsonb,
        %(reward)s::jsonb, %(created_at)s, %(finished_at)s)
"""


def scan(**given: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": uuid.uuid4(),
        "user_id": uuid.uuid4(),
        "status": "completed",
        "vision": {"model": "m", "source": "model"},
        "rule": {"item_id": "can", "stream_id": "metal", "needs_choice": False, "chosen": None},
        "answer": {"source": "rules"},
        "reward": None,
        "created_at": NOON,
        "finished_at": NOON + timedelta(seconds=2),
    } | given
    for name in ("vision", "rule", "answer", "reward"):
        row[name] = None if row[name] is None else orjson.dumps(row[name]).decode()
    return row


async def insert(db: Database, *scans: dict[str, Any]) -> None:
    async with db.transaction() as tx:
        for row in scans:
            await tx.run(INSERT, **row)


async def compute(db: Database, day: date = DAY) -> stats.Figures:
    async with db.transaction() as tx:
        return await stats.compute(tx, day)


async def test_the_figures_are_those_of_the_rows(own: Database) -> None:
    who = uuid.uuid4()
    waiting = {"item_id": None, "stream_id": None, "needs_choice": True, "chosen": None}
    chosen = {"item_id": "can", "stream_id": "metal", "needs_choice": False, "chosen": "can"}
    unseen: dict[str, Any] = {"vision": None, "rule": None, "answer": None, "finished_at": None}
    await insert(
        own,
        scan(user_id=who, reward={"code": "char-metal"}, finished_at=NOON + timedelta(seconds=1)),
        scan(user_id=who, vision={"model": "m", "source": "near"}, finished_at=NOON + timedelta(seconds=3)),
        scan(rule=waiting),
        scan(rule=chosen),
        scan(status="failed", **{**unseen, "finished_at": NOON}),
        scan(status="queued", **unseen),
    )
    found = await compute(own)
    assert found == {
        ("scans", "submitted"): 6,
        ("scans", "completed"): 4,
        ("scans", "failed"): 1,
        ("scans", "open"): 1,
        ("users", "active"): 5,
        ("models", "m"): 4,
        ("looks", "model"): 3,
        ("looks", "near"): 1,
        ("answers", "rules"): 4,
        ("streams", "metal"): 3,
        ("choices", "asked"): 2,
        ("choices", "made"): 1,
        ("rewards", "granted"): 1,
        ("seconds", "p50"): pytest.approx(2.0),
        ("seconds", "p95"): pytest.approx(2.85),
    }


async def test_a_day_is_one_of_seoul(own: Database) -> None:
    start, end = stats.bounds(DAY)
    tick = timedelta(microseconds=1)
    await insert(own, *(scan(created_at=at) for at in (start - tick, start, end - tick, end)))
    assert (await compute(own))["scans", "submitted"] == 2


async def judge(db: Database, job: dict[str, Any], verdict: str, at: datetime) -> None:
    await db.run(
        """INSERT INTO scan.feedback (job_id, user_id, verdict, item_id, model, updated_at)
           VALUES (%(job)s, %(user)s, %(verdict)s, 'can', 'm', %(at)s)
           ON CONFLICT (job_id, user_id) DO UPDATE SET verdict = excluded.verdict, updated_at = excluded.updated_at""",
        job=job["id"],
        user=job["user_id"],
        verdict=verdict,
        at=at,
    )


async def test_what_users_say_counts_once_on_the_day_of_their_last_word(own: Database) -> None:
    scans = [scan() for _ in range(4)]
    await insert(own, *scans)
    for job in scans[:3]:
        await judge(own, job, "right", NOON)
    await judge(own, scans[0], "wrong", NOON + timedelta(hours=1))
    await judge(own, scans[3], "wrong", NOON + timedelta(hours=13))  # the next day in Seoul
    found = await compute(own)
    assert (found["feedback", "right"], found["feedback", "wrong"]) == (2, 1)
    assert (await compute(own, DAY + timedelta(days=1)))["feedback", "wrong"] == 1
    await judge(own, scans[0], "right", NOON + timedelta(days=2))
    assert ("feedback", "wrong") not in await compute(own)


async def test_a_day_without_scans_has_figures_too(own: Database) -> None:
    assert await compute(own) == {("scans", "submitted"): 0, ("users", "active"): 0}


async def test_computing_again_replaces(own: Database) -> None:
    for values in ({("scans", "submitted"): 5.0, ("streams", "metal"): 5.0}, {("scans", "submitted"): 6.0}):
        async with own.transaction() as tx:
            await store.replace_day(tx, DAY, values)
    async with own.transaction() as tx:
        assert await store.stats(tx, DAY, DAY) == {DAY: {"scans": {"submitted": 6.0}}}
        assert await store.newest_day(tx) == DAY


@pytest.fixture
def alone(environment: dict[str, str], database_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a task's process, on the database of these tests."""
    for name, value in {**environment, "ECO2_DATABASE_URL": database_url}.items():
        monkeypatch.setenv(name, value)
    return environment


async def test_a_day_becomes_statistics_with_its_cost_and_then_a_report(own: Database, alone: dict[str, str]) -> None:
    scans = [scan() for _ in range(7)]
    await insert(own, *scans)
    await judge(own, scans[0], "right", NOON)
    async with redis.connect(alone["ECO2_REDIS_CACHE_URL"]) as client:
        await client.set(spent_key(str(DAY)), 2_500_000, ex=60)
        outcome = await stats.daily(str(DAY))
        await client.delete(spent_key(str(DAY)))
    assert outcome.result["scans"] == 7
    assert outcome.then == [("report.generate", str(DAY))]
    await stats.daily(str(DAY))
    async with own.transaction() as tx:
        kept = (await store.stats(tx, DAY, DAY))[DAY]
    assert kept["cost_usd"] == {"llm": 2.5}, "a cost that is forgotten elsewhere stays"
    written = await report.generate(str(DAY))
    objects = OpsStore(ReportSettings())
    page, pdf = [await objects.get(report.key(DAY, kind)) for kind in ("html", "pdf")]
    assert page is not None
    assert "US$2.50" in page.decode()
    assert "사용자 의견 1건 가운데 맞음 <b>100.0%</b>" in page.decode()
    assert pdf is not None
    assert (pdf[:5], len(pdf)) == (b"%PDF-", written.result["bytes"])


async def test_a_report_of_an_empty_day_says_so_and_of_an_unknown_day_is_refused(
    own: Database, alone: dict[str, str]
) -> None:
    with pytest.raises(report.NoStatistics):
        await report.generate(str(DAY))
    await stats.daily(str(DAY))
    await report.generate(str(DAY))
    page = await OpsStore(ReportSettings()).get(report.key(DAY, "html"))
    assert "한 건도 없었습니다" in (page or b"").decode()


async def test_the_nightly_run_orders_yesterday_and_what_was_missed(own: Database, alone: dict[str, str]) -> None:
    async with own.transaction() as tx:
        today = (await store.now(tx)).astimezone(LOCAL).date()
        await store.replace_day(tx, today - timedelta(days=3), {("scans", "submitted"): 1.0})
        await store.add(tx, "old", "cleanup.cache", "")
        await tx.run("UPDATE jobs.runs SET status = 'done', created_at = now() - interval '91 days'")
    outcome = await stats.aggregate("")
    assert outcome.then == [("analytics.daily", str(today - timedelta(days=n))) for n in (3, 2, 1)]
    assert outcome.result["runs_forgotten"] == 1


async def test_digests_whose_results_are_gone_are_forgotten(alone: dict[str, str]) -> None:
    version = f"v:{uuid.uuid4().hex[:6]}"
    digests = [uuid.uuid4().hex * 2 for _ in range(look_index.PAGE + 3)]
    kept = {digests[0], digests[-1]}
    async with redis.connect(alone["ECO2_REDIS_CACHE_URL"], decode_responses=False) as client:
        name = look_index.stream(version)
        for digest in digests:
            await client.xadd(name, {look_index.FIELD: look_index.packed(0, digest)})
        for digest in kept:
            await client.set(cache.result_key("vision", version, digest), b"{}", ex=60)
        outcome = await cleanup.run("")
        assert isinstance(removed := outcome.result["removed"], int)
        assert removed >= len(digests) - 2
        left = await look_index.entries(client, name, b"-")
        assert {look_index.digest_of(look_index.photo_of(entry)) for entry in left} == kept
        await client.delete(name)
