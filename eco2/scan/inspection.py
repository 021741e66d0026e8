"""`eco2 job show`: everything that is known about one job, for the operator who has to explain it."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select

from eco2.core import redis
from eco2.core.settings import DatabaseSettings, StreamsSettings
from eco2.core.tables import open_engine
from eco2.messaging.events import EventBus, trace_ids
from eco2.scan.tables import jobs

Json = dict[str, Any]

_TIMES = ("created_at", "enqueued_at", "finished_at", "announced_at", "moved_at", "marked_at", "swept_at")


class InspectSettings(DatabaseSettings, StreamsSettings):
    pass


async def show(settings: InspectSettings, job_id: UUID) -> Json | None:
    """`{job, stages, events, trace_id}`; None when there is no such job. Events are kept for a while after the last."""
    async with open_engine(settings) as engine, engine.connect() as tx:
        row = (await tx.execute(select(jobs).where(jobs.c.id == job_id))).mappings().one_or_none()
    if row is None:
        return None
    async with redis.connect(settings.redis_streams_url) as streams:
        events = [orjson.loads(frame) for frame in await EventBus(streams).log(str(job_id), 0, 1000)]
    traces = [trace_id for event in events if (trace_id := trace_ids(event["traceparent"])[0])]
    return {
        "job": _job(dict(row)),
        "stages": _stages(events),
        "events": [{name: event[name] for name in ("seq", "stage", "status", "ts", "progress")} for event in events],
        "trace_id": traces[0] if traces else None,
    }


def _job(row: Json) -> Json:
    """Without the outputs themselves, which may quote the user; `sources` says where they came from."""
    outputs = {stage: row[stage] for stage in ("vision", "rule", "answer", "reward")}
    shown = {name: str(row[name]) for name in ("id", "user_id", "image_key", "status")}
    times = {name: row[name].isoformat(timespec="milliseconds") if row[name] else None for name in _TIMES}
    return {
        **shown,
        "model": row["model"],
        "error": row["error"],
        "code": row["error_code"],
        **times,
        "seconds": _between(row["created_at"], row["finished_at"]),
        "stored": [stage for stage, output in outputs.items() if output is not None],
        "sources": {stage: outputs[stage].get("source") for stage in ("vision", "answer") if outputs[stage]},
        "seen_by": outputs["vision"]["model"] if outputs["vision"] else None,
        "item": outputs["rule"]["item_id"] if outputs["rule"] else None,
    }


def _between(start: datetime, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if end else None


def _stages(events: list[Json]) -> list[Json]:
    """(stage, milliseconds) from started to the end of each stage, in order."""
    started = {event["stage"]: float(event["ts"]) for event in events if event["status"] == "started"}
    ended = {event["stage"]: float(event["ts"]) for event in events if event["status"] != "started"}
    return [
        {"stage": stage, "ms": round((ended[stage] - at) * 1000, 1) if stage in ended else None}
        for stage, at in started.items()
    ]
