"""Numbers of `eco2 top`: the difference of two readings of a stack."""

from typing import Any

from eco2.local.observing.samples import Reading, Usage

Json = dict[str, Any]


def summary(before: Reading, now: Reading) -> Json:
    """Rates are per second, times milliseconds, memory MB; None: not known."""
    return {
        "processes": _processes(before, now),
        "queues": _queues(now) if now.broker_read else None,
        "stages": _stages(before, now),
        "scans": _scans(before, now),
        "edge": _edge(before, now),
        "streams": _streams(before, now),
        "cost": _cost(before, now),
        "alerts": None if now.alerts is None else [_alert(row) for row in now.alerts],
    }


def _rate(before: Reading, now: Reading, name: str, **labels: str) -> float:
    return _per_second(before, now, now.total(name, **labels) - before.total(name, **labels))


def _per_second(before: Reading, now: Reading, difference: float) -> float:
    """A counter that began anew with its process counts as nothing."""
    return round(max(0.0, difference) / max(now.at - before.at, 0.001), 2)


def _mean(before: Reading, now: Reading, name: str, **labels: str) -> float | None:
    count = now.total(f"{name}_count", **labels) - before.total(f"{name}_count", **labels)
    seconds = now.total(f"{name}_sum", **labels) - before.total(f"{name}_sum", **labels)
    return round(1000 * seconds / count, 1) if count > 0 and seconds >= 0 else None


def _processes(before: Reading, now: Reading) -> list[Json]:
    nothing, seconds = Usage(None, None), max(now.at - before.at, 0.001)
    rows = []
    for row in now.processes:
        used, last = now.usage.get(row.name, nothing), before.usage.get(row.name, nothing)
        known = used.cpu is not None and last.cpu is not None
        spent = max(0.0, (used.cpu or 0) - (last.cpu or 0)) if known else None
        rows.append(
            {
                "name": row.name,
                "pid": row.pid,
                "ready": row.ready and row.name in now.usage,
                "answers": row.name not in now.unread,
                "restarts": row.restarts,
                "cpu_percent": None if spent is None else round(100 * spent / seconds, 1),
                "memory_mb": None if used.memory is None else round(used.memory / 1e6, 1),
            }
        )
    return rows


def _queues(now: Reading) -> list[Json]:
    prefix = "rabbitmq_detailed_queue"
    rows = []
    for sample in now.samples:
        name = sample.labels.get("queue", "")
        if sample.name == f"{prefix}_messages_ready" and not name.startswith("amq."):
            labels = {"queue": name, "vhost": sample.labels["vhost"]}
            rows.append(
                {
                    **labels,
                    "ready": int(sample.value),
                    "in_work": int(now.total(f"{prefix}_messages_unacked", **labels)),
                    "consumers": int(now.total(f"{prefix}_consumers", **labels)),
                    "dead_letters": name.startswith("dlq.") or name == "q.dlq",
                }
            )
    return sorted(rows, key=lambda row: (row["dead_letters"], -row["ready"], row["vhost"], row["queue"]))


def _stages(before: Reading, now: Reading) -> list[Json]:
    name = "eco2_task_seconds"
    rows = []
    for task in sorted(now.by(f"{name}_count", "task")):
        again = _rate(before, now, f"{name}_count", task=task, outcome="requeued")
        rate, mean = _rate(before, now, f"{name}_count", task=task), _mean(before, now, name, task=task)
        rows.append({"task": task, "rate": rate, "milliseconds": mean, "again": again})
    return rows


def _scans(before: Reading, now: Reading) -> Json:
    ended = {
        outcome: _rate(before, now, "eco2_scans_ended_total", outcome=outcome)
        for outcome in sorted(now.by("eco2_scans_ended_total", "outcome"))
    }
    looks = now.by("eco2_scan_cache_total", "source", stage="vision")
    hits = sum(looks.get(source, 0.0) for source in ("exact", "near", "shared"))
    return {
        "ended": ended,
        "milliseconds": _mean(before, now, "eco2_scan_seconds"),
        "total": {outcome: int(n) for outcome, n in now.by("eco2_scans_ended_total", "outcome").items()},
        "cache_hits": round(hits / sum(looks.values()), 3) if sum(looks.values()) else None,
        "chat_turns": _rate(before, now, "eco2_chat_turns_total"),
    }


def _edge(before: Reading, now: Reading) -> Json:
    name = "eco2_http_request_seconds"
    statuses = {row.labels["status"] for row in now.samples if row.name == f"{name}_count"}
    failed = sum(_rate(before, now, f"{name}_count", status=status) for status in statuses if status.startswith("5"))
    mean = _mean(before, now, name)
    return {"requests": _rate(before, now, f"{name}_count"), "failed": round(failed, 2), "milliseconds": mean}


def _streams(before: Reading, now: Reading) -> Json:
    return {
        "open": int(now.total("eco2_sse_open_streams")),
        "jobs": int(now.total("eco2_sse_subscribed_jobs")),
        "events": _rate(before, now, "eco2_router_events_forwarded_total"),
        "sent": _rate(before, now, "eco2_sse_frames_sent_total"),
        "waiting": int(now.total("eco2_router_lag")),
        "memory_share": round(now.most("eco2_router_memory_share"), 4),
    }


def _cost(before: Reading, now: Reading) -> Json:
    return {
        "spent_today_usd": round(now.most("eco2_llm_spent_today_usd"), 4),
        "budget_usd": round(now.most("eco2_llm_budget_usd"), 2),
        "stopped": now.most("eco2_llm_stopped") == 1,
        "calls": _rate(before, now, "eco2_llm_calls_total"),
        "failed": round(
            sum(
                _rate(before, now, "eco2_llm_calls_total", outcome=outcome)
                for outcome in now.by("eco2_llm_calls_total", "outcome")
                if outcome != "ok"
            ),
            2,
        ),
        "tokens": _rate(before, now, "eco2_llm_tokens_total"),
    }


def _alert(row: Json) -> Json:
    labels, annotations = row["labels"], row["annotations"]
    return {
        "name": labels["alertname"],
        "severity": labels.get("severity", ""),
        "since": row["startsAt"],
        "summary": annotations.get("summary", ""),
        "runbook": annotations.get("runbook_url", ""),
        "state": row["status"]["state"],
    }
