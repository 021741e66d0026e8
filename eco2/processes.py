"""The table of processes: entry point, ports and queues of each.

`eco2 run NAME`, the local supervisor, the edge configuration and the deployment tests all read this table;
nothing else names a process twice.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["server", "api", "worker", "grpc", "stream"]
Image = Literal["api", "worker", "batch"]
"""Targets of the Dockerfile."""

DEFAULT_PORT_BASE = 10000
DEFAULT_GATEWAY_PORT = 8080


@dataclass(frozen=True)
class Process:
    """One process. Ports are offsets to the local port base; inside the cluster the ports are 8000 and 50051.

    `target` is `module:function`, a function without arguments that serves until SIGTERM (None for the servers,
    which `eco2.local` knows how to start). `service` is the in-cluster host that routes name; of a worker,
    the one that other services call by gRPC.
    `needs` lists processes that have to be ready before this one starts. `image` is the target of the Dockerfile that
    has its libraries.
    """

    name: str
    kind: Kind
    port: int
    target: str | None = None
    service: str | None = None
    grpc_port: int | None = None
    queues: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    image: Image = "api"


SERVERS = (
    Process("postgres", "server", 1, service="postgres.postgres"),
    Process("redis-streams", "server", 2, service="redis-streams.redis"),
    Process("redis-cache", "server", 3, service="redis-cache.redis"),
    Process("rabbitmq", "server", 4, service="eco2-rabbitmq.rabbitmq"),
    Process("object-store", "server", 10, service="object-store.storage"),
)

SERVICES = (
    Process(
        "auth-api",
        "api",
        31,
        "eco2.auth.main:run",
        "auth-api.auth",
        grpc_port=40,
        needs=("postgres", "redis-streams", "redis-cache"),
    ),
    Process(
        "image-api",
        "api",
        32,
        "eco2.image.main:run",
        "image-api.image",
        grpc_port=30,
        needs=("postgres", "object-store"),
    ),
    Process(
        "scan-api",
        "api",
        33,
        "eco2.scan.main:run",
        "scan-api.scan",
        grpc_port=28,
        needs=("postgres", "redis-streams", "rabbitmq", "object-store"),
    ),
    Process(
        "recycling-api",
        "api",
        49,
        "eco2.recycling.main:run",
        "recycling-api.recycling",
        grpc_port=0,
        needs=("postgres",),
        image="worker",
    ),
    Process("info-api", "api", 19, "eco2.info.main:run", "info-api.info", needs=("postgres",)),
    Process(
        "location-api",
        "api",
        24,
        "eco2.location.main:run",
        "location-api.location",
        grpc_port=25,
        needs=("postgres",),
    ),
    Process(
        "chat-api",
        "api",
        50,
        "eco2.chat.main:run",
        "chat-api.chat",
        grpc_port=51,
        needs=("postgres", "redis-streams", "rabbitmq", "object-store"),
    ),
    Process(
        "character-api",
        "api",
        34,
        "eco2.character.main:run",
        "character-api.character",
        grpc_port=29,
        needs=("postgres",),
    ),
    Process(
        "my-api",
        "api",
        38,
        "eco2.my.main:run",
        "my-api.my",
        grpc_port=39,
        needs=("postgres", "rabbitmq"),
    ),
    Process("web", "api", 53, "eco2.web.main:run", "web.web"),
    Process("sse-gateway", "stream", 35, "eco2.sse_gateway.main:run", "sse-gateway.sse", needs=("redis-streams",)),
    # It is not ready before auth-api has written the denylist.
    Process(
        "ext-authz",
        "grpc",
        37,
        "eco2.ext_authz.main:run",
        "ext-authz.auth",
        grpc_port=36,
        needs=("redis-streams", "auth-api"),
    ),
    Process(
        "scan-worker",
        "worker",
        41,
        "eco2.scan.worker:run",
        "scan-worker.scan",
        grpc_port=54,
        queues=("scan.vision", "scan.rule", "scan.answer"),
        needs=("postgres", "redis-streams", "redis-cache", "rabbitmq", "object-store"),
        image="worker",
    ),
    Process(
        "scan-sweeper",
        "worker",
        26,
        "eco2.scan.sweeper:run",
        needs=("postgres", "redis-streams", "rabbitmq"),
    ),
    Process(
        "chat-worker",
        "worker",
        52,
        "eco2.chat.worker:run",
        queues=("chat.process",),
        needs=("postgres", "redis-streams", "redis-cache", "rabbitmq"),
        image="worker",
    ),
    Process(
        "character-worker",
        "worker",
        42,
        "eco2.character.worker:run",
        queues=("reward.character",),
        needs=("postgres", "rabbitmq"),
    ),
    Process(
        "ai-worker",
        "worker",
        44,
        "eco2.scan.ai_worker:run",
        queues=("q.ai",),
        needs=("postgres", "redis-streams", "redis-cache", "rabbitmq", "object-store"),
        image="worker",
    ),
    Process(
        "api-worker",
        "worker",
        27,
        "eco2.workers.api:run",
        queues=("q.api",),
        needs=("redis-cache", "rabbitmq"),
        image="worker",
    ),
    Process(
        "batch-worker",
        "worker",
        47,
        "eco2.workers.batch:run",
        queues=("q.batch", "q.sched"),
        needs=("postgres", "redis-cache", "rabbitmq", "object-store"),
        image="batch",
    ),
    Process("scheduler", "worker", 48, "eco2.jobs.scheduler:run", needs=("postgres", "rabbitmq")),
    Process("event-router", "stream", 43, "eco2.event_router.main:run", needs=("redis-streams",)),
)

GATEWAY = Process("gateway", "server", 20, needs=("auth-api", "ext-authz"))

PROCESSES = (*SERVERS, *SERVICES, GATEWAY)


def process(name: str) -> Process:
    """The row of that name; KeyError lists the known names."""
    for row in PROCESSES:
        if row.name == name:
            return row
    raise KeyError(f"no process {name!r}; known: {', '.join(row.name for row in PROCESSES)}")
