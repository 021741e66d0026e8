"""`eco2 job show`: all data about one job, for operators."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from eco2.core import redis
from eco2.core.postgres import open_database
from eco2.core.settings import DatabaseSettings, StreamsSettings
from eco2.messaging.events import EventBus, trace_ids
from eco2.scan import state_store
from eco2.scan.job import Job

Json = dict[str, Any]


class InspectSettings(DatabaseSettings, StreamsSettings):
    pass


async def show(settings: InspectSettings, job_id: UUID) -> Json | None:
    """`{job, stages, events, trace_id}`; None when there is no such job. Events are kept for a while after the last."""
    async with open_database(settings, repeat=True) as db:
        found = await state_store.load_with_times(db, job_id)
    if found is None:
        return None
    async with redis.connect(settings.redis_streams_url) as streams:
        events = [orjson.loads(frame) for frame in await EventBus(streams).log(str(job_id), 0, 1000)]
    traces = [trace_id for event in events if (trace_id := trace_ids(event["traceparent"])[0])]
    return {
        "job": _job(*found),
        "stages": _stages(events),
        "events": [{name: event[name] for name in ("seq", "stage", "status", "ts", "progress")} for event in events],
        "trace_id": traces[0] if traces else None,
    }


def _job(job: Job, times: dict[str, datetime | None]) -> Json:
    """Without the outputs themselves, which may quote the user; `sources` says where they came from."""
    stored = {stage: getattr(job, stage) for stage in ("vision", "rule", "answer", "reward")}
    sources = {"vision": job.vision and job.vision.source, "answer": job.answer and job.answer.source}
    return {
        "id": str(job.id),
        "user_id": str(job.user_id),
        "image_key": job.image_key,
        "status": job.status,
        "model": job.model,
        "error": job.error,
        "code": job.error_code,
        **{name: at.isoformat(timespec="milliseconds") if at else None for name, at in times.items()},
        "seconds": _between(times["created_at"], times["finished_at"]),
        "stored": [stage for stage, output in stored.items() if output is not None],
        "sources": {stage: source for stage, source in sources.items() if stored[stage] is not None},
        "seen_by": job.vision.model if job.vision else None,
        "item": job.rule.item_id if job.rule else None,
    }


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if start and end else None


def _stages(events: list[Json]) -> list[Json]:
    """(stage, milliseconds) from started to the end of each stage, in order."""
    started = {event["stage"]: float(event["ts"]) for event in events if event["status"] == "started"}
    ended = {event["stage"]: float(event["ts"]) for event in events if event["status"] != "started"}
    return [
        {"stage": stage, "ms": round((ended[stage] - at) * 1000, 1) if stage in ended else None}
        for stage, at in started.items()
    ]
