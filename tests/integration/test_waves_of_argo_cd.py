"""When Argo CD goes on to the next wave: its rule for the health of an Application, run by the Lua of a Redis."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from redis.asyncio import Redis

from tests.redis_server import private_redis

VALUES = Path(__file__).parents[2] / "clusters" / "base" / "apps" / "01-argocd.yaml"
RULE = "resource.customizations.health.argoproj.io_Application"
CHART = {"repoURL": "https://charts.example.org", "targetRevision": "1.2.3", "helm": {"valuesObject": {"a": [1, 2]}}}
EMPTY = {"repoURL": ""}
"""A source that is not given is no missing one in a status."""


@pytest.fixture(scope="module")
async def redis() -> AsyncIterator[Redis]:
    async with private_redis() as url, Redis.from_url(url, decode_responses=True) as client:
        yield client


async def health(redis: Redis, status: dict[str, Any] | None) -> str:
    spec = yaml.safe_load(VALUES.read_text())["spec"]
    rule = spec["source"]["helm"]["valuesObject"]["configs"]["cm"][RULE]
    script = f"local function health(obj)\n{rule}\nend\nreturn health(cjson.decode(ARGV[1])).status"
    found: str = await redis.eval(script, 0, orjson.dumps({"status": status} if status is not None else {}))
    return found


def synced(status: str, applied: dict[str, Any] | None = None, **other: Any) -> dict[str, Any]:
    """An Application of a chart at 1.2.3, and what the last sync applied of it."""
    found: dict[str, Any] = {
        "sync": {"status": status, "revision": "1.2.3", "comparedTo": {"source": CHART, "destination": {}}},
        "health": {"status": "Healthy"},
    }
    if applied is not None:
        found["operationState"] = {"phase": "Succeeded", "syncResult": {"revision": "1.2.3", "source": CHART} | applied}
    return found | other


OTHER_VALUES = {"source": {**CHART, "helm": {"valuesObject": {"a": [1, 3]}}}}
FEWER_VALUES = {"source": {key: value for key, value in CHART.items() if key != "helm"}}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, "Progressing"),
        ({"health": {"status": "Healthy"}}, "Progressing"),  # never compared
        (synced("OutOfSync"), "Progressing"),  # never synced: no objects, which Argo CD calls healthy
        (synced("Unknown", {}), "Progressing"),
        (synced("Synced", {}), "Healthy"),
        (synced("Synced", {}, health={"status": "Degraded"}), "Degraded"),
        (synced("Synced", {}, health={"status": "Progressing"}), "Progressing"),
        (synced("OutOfSync", {}), "Healthy"),  # synced as it is now: what differs was filled in by somebody
        (synced("OutOfSync", {}, health={"status": "Degraded"}), "Degraded"),
        (synced("OutOfSync", {"revision": "1.2.2"}), "Progressing"),
        (synced("OutOfSync", OTHER_VALUES), "Progressing"),
        (synced("OutOfSync", FEWER_VALUES), "Progressing"),
        (synced("OutOfSync", {}, operationState={"phase": "Running"}), "Progressing"),
        (
            synced("OutOfSync", {}, operationState={"phase": "Failed", "syncResult": {"revision": "1.2.3"}}),
            "Progressing",
        ),
        (synced("OutOfSync", {}, conditions=[{"type": "ComparisonError", "message": "no such chart"}]), "Degraded"),
    ],
)
async def test_a_wave_waits_for(redis: Redis, status: dict[str, Any] | None, expected: str) -> None:
    assert await health(redis, status) == expected


async def test_an_application_of_several_sources_is_compared_by_all_of_them(redis: Redis) -> None:
    several = {"sources": [CHART, {"repoURL": "https://github.com/mng990/eco2.git", "ref": "values"}]}
    sync = {"status": "OutOfSync", "revisions": ["1.2.3", "abc"], "comparedTo": {"source": EMPTY, **several}}
    applied = {"revision": "", "revisions": ["1.2.3", "abc"], "source": EMPTY, **several}

    def status(**other: Any) -> dict[str, Any]:
        operation = {"phase": "Succeeded", "syncResult": applied | other}
        return {"sync": sync, "health": {"status": "Healthy"}, "operationState": operation}

    assert await health(redis, status()) == "Healthy"
    assert await health(redis, status(revisions=["1.2.3", "abd"])) == "Progressing"
    assert await health(redis, status(sources=[CHART])) == "Progressing"
