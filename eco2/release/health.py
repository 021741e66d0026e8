"""Waits until a cluster runs a release, as Argo CD sees it."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

import httpx2

from eco2.core.settings import SettingsGroup
from eco2.release.repository import GATEWAY, ReleaseError
from eco2.release.services import MIGRATIONS

POLL_SECONDS = 10.0
DEGRADED_SECONDS = 90.0
"""A new Pod may be unready for a moment; a roll-out that was aborted stays degraded."""
ANSWER_SECONDS = 20.0
IMAGE, PROXY = "docker.io/mng990/eco2", "docker.io/istio/proxyv2"


class ArgoSettings(SettingsGroup):
    argocd_url: str
    argocd_token: str


class NotHealthy(ReleaseError):
    """Fault, with the Application that has it."""


def applications_of(service: str, environment: str) -> tuple[str, ...]:
    """Argo CD's names for what runs a service, those that Pods or the Job of it belong to last (clusters/base/apps)."""
    if service == MIGRATIONS:
        return (f"{environment}-{MIGRATIONS}",)
    if service == GATEWAY:
        # The chart with its Deployment, and the Rollout that starts the Pods.
        return (f"{environment}-istio-gateway", f"{environment}-route-gateway")
    domain, _, _ = service.partition("-")
    return (f"{environment}-{domain}",)


def wait(
    settings: ArgoSettings,
    environment: str,
    tags: Mapping[str, str],
    seconds: float,
    say: Callable[[str], object],
    before: Collection[str] = (),
    pause: float = POLL_SECONDS,
    patience: float = DEGRADED_SECONDS,
) -> None:
    """Return once every Application runs these tags, is synced and healthy. NotHealthy: it failed, or time is over.

    `before` are the commits older than the release: how an Application is at one of them says nothing of it."""
    end, told, since = time.monotonic() + seconds, "", 0.0
    headers = {"Authorization": f"Bearer {settings.argocd_token}"}
    with httpx2.Client(base_url=settings.argocd_url, headers=headers, timeout=ANSWER_SECONDS) as client:
        _refresh(client, {name for service in tags for name in applications_of(service, environment)})
        while True:
            missing, failed = _looked_at(client, environment, tags, before)
            if not missing:
                return
            if missing != told:
                say(missing)
                told = missing
            now = time.monotonic()
            since = (since or now) if failed else 0.0
            if now >= end:
                raise NotHealthy(f"{environment} is not healthy after {seconds:.0f} s: {missing}")
            if failed and now - since >= patience:
                raise NotHealthy(f"{environment} has failed: {missing}")
            time.sleep(pause)


def _refresh(client: httpx2.Client, names: Iterable[str]) -> None:
    """Let Argo CD look at Git now. Where that fails it looks by itself, every three minutes."""
    with suppress(httpx2.TransportError):
        for name in sorted(names):
            client.get(f"/api/v1/applications/{name}", params={"refresh": "normal"})


def _looked_at(
    client: httpx2.Client, environment: str, tags: Mapping[str, str], before: Collection[str]
) -> tuple[str, bool]:
    """(reasons to wait, empty when done; True when one of them is a failure)"""
    try:
        answer = client.get("/api/v1/applications", params={"fields": "items.metadata.name,items.status"})
        answer.raise_for_status()
        found = {row["metadata"]["name"]: row.get("status", {}) for row in answer.json()["items"]}
    except httpx2.HTTPStatusError as error:
        if error.response.status_code in (401, 403):
            raise NotHealthy(f"Argo CD answers {error.response.status_code}: is ECO2_ARGOCD_TOKEN right?") from None
        return f"Argo CD answers {error.response.status_code}", False
    except (httpx2.TransportError, ValueError, KeyError, TypeError) as error:
        return f"Argo CD does not answer ({type(error).__name__})", False
    wanted: dict[str, set[str]] = {}
    charts: dict[str, str] = {}
    for service, revision in tags.items():
        image = f"{IMAGE}:{service}-{environment}-{revision}"
        *chart, runs = applications_of(service, environment)
        if chart:
            image, charts[chart[0]] = f"{PROXY}:{revision}", revision
            wanted.setdefault(chart[0], set())
        wanted.setdefault(runs, set()).add(image)
    states = {name: _state(found.get(name), images, before, charts.get(name)) for name, images in wanted.items()}
    missing = sorted(f"{name} {state}" for name, state in states.items() if state != "is healthy")
    return ", ".join(missing), "is degraded" in states.values()


def _state(
    status: Mapping[str, Any] | None, images: set[str], before: Collection[str], chart: str | None = None
) -> str:
    """`chart`: version of an Application that is a chart, whose revisions are versions in place of commits."""
    if status is None:
        return "is unknown to Argo CD"
    sync = status.get("sync", {})
    if chart is not None and sync.get("revision") != chart:
        return "is at another version"
    if not sync.get("revision") or sync["revision"] in before:
        return "is at an older commit"
    synced = sync.get("status") == "Synced"
    health = str(status.get("health", {}).get("status", "Unknown")).lower()
    # Before its images: a roll-out that was aborted runs the old ones. Until it is synced, it is the state before.
    if synced and health == "degraded":
        return "is degraded"
    if not images <= set(status.get("summary", {}).get("images", ())):
        return "runs other images"
    if not synced:
        return "is not synced"
    return f"is {health}"
