"""Health of a broker's queues: the broker also listens when the files of a queue are damaged."""

import base64
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx2

from eco2.local import probes
from eco2.local.config import CHAT_VHOST, TASKS_VHOST, VHOST, LocalError

QUEUES = "/api/queues?columns=name,vhost,type,state,leader"
ELECTION_SECONDS = 15
"""A queue has a leader a second after the broker started, a few on a busy machine; a spoilt one never has."""
NAMED = 3


class QueuesDead(LocalError):
    """Queues that exist and cannot be used."""


@dataclass(frozen=True)
class Management:
    """The management API of a broker, and its user."""

    url: str
    user: str
    password: str

    @property
    def authorization(self) -> str:
        return f"Authorization: Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


def dead(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Ours among `rows`, as the management API gives `QUEUES`, that can neither be published to nor consumed from."""
    vhosts = (VHOST, TASKS_VHOST, CHAT_VHOST)
    ours = (row for row in rows if row["vhost"] in vhosts and not row["name"].startswith("amq."))
    return sorted(row["name"] for row in ours if _is_dead(row))


def _is_dead(row: dict[str, Any]) -> bool:
    if row.get("type") == "quorum":
        return not row.get("leader")
    return row.get("state") in ("down", "stopped", "crashed")


def serve(at: Management) -> probes.Probe:
    """Every queue can be used now."""
    return probes.http(at.url + QUEUES, (at.authorization,), lambda body: not dead(json.loads(body)))


def find_dead(at: Management, seconds: float = ELECTION_SECONDS) -> list[str]:
    """Queues that cannot be used for at least so long."""
    deadline = time.monotonic() + seconds
    with httpx2.Client(base_url=at.url, auth=(at.user, at.password), timeout=30) as api:
        while found := dead(api.get(QUEUES).raise_for_status().json()):
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
    return found


def require(at: Management, advice: str) -> None:
    if found := find_dead(at):
        named = ", ".join(found[:NAMED]) + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")
        raise QueuesDead(f"The broker answers, but these queues are damaged: {named}. {advice}")
