"""The broker topology as code knows it. The manifests in `workloads/rabbitmq/base` create it, in the cluster
and locally; a contract test holds the two together."""

from dataclasses import dataclass

VHOST = "eco2"

SCAN_EXCHANGE = "scan.direct"
REWARD_EXCHANGE = "reward.direct"
DEAD_LETTER_EXCHANGE = "dlx"
REVOCATION_EXCHANGE = "authz.fanout"
CELERY_EXCHANGE = "celery"

SCAN_VISION = "scan.vision"
SCAN_RULE = "scan.rule"
SCAN_ANSWER = "scan.answer"
REWARD_QUEUE = "reward.character"
CELERY_QUEUE = "celery"

TASKS_VHOST = "tasks"
TASKS_EXCHANGE = "tasks"
"""Topic exchange of the vhost `tasks`, for work and, with keys `dlq.*`, for its dead letters."""

Q_AI, Q_BATCH, Q_API, Q_SCHED, Q_DLQ = "q.ai", "q.batch", "q.api", "q.sched", "q.dlq"

CHAT_VHOST = "chat"
CHAT_EXCHANGE = "chat.direct"
CHAT_QUEUE = "chat.process"

_MINUTE = 60_000
_HOUR = 60 * _MINUTE


@dataclass(frozen=True)
class Queue:
    """A durable quorum queue. Times are milliseconds."""

    name: str
    ttl: int | None
    delivery_limit: int | None = None
    dead_letter_key: str | None = None
    """Routing key on `DEAD_LETTER_EXCHANGE`, which is also the name of the dead-letter queue."""

    @property
    def arguments(self) -> dict[str, str | int]:
        """The `x-` arguments it is declared with, besides its type."""
        named = {
            "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE if self.dead_letter_key else None,
            "x-dead-letter-routing-key": self.dead_letter_key,
            "x-message-ttl": self.ttl,
            "x-delivery-limit": self.delivery_limit,
        }
        return {key: value for key, value in named.items() if value is not None}


@dataclass(frozen=True)
class Binding:
    exchange: str
    queue: str
    routing_key: str


EXCHANGES = {
    SCAN_EXCHANGE: "direct",
    REWARD_EXCHANGE: "direct",
    DEAD_LETTER_EXCHANGE: "direct",
    REVOCATION_EXCHANGE: "fanout",
    CELERY_EXCHANGE: "topic",
}

WORK_QUEUES = (
    Queue(SCAN_VISION, _HOUR, 3, "dlq.scan.vision"),
    Queue(SCAN_RULE, 300_000, 3, "dlq.scan.rule"),
    Queue(SCAN_ANSWER, _HOUR, 3, "dlq.scan.answer"),
    Queue(REWARD_QUEUE, 24 * _HOUR, 5, "dlq.reward"),
    Queue(CELERY_QUEUE, None, 3, "dlq.celery"),
)

DEAD_LETTER_QUEUES = tuple(
    Queue(queue.dead_letter_key, 7 * 24 * _HOUR) for queue in WORK_QUEUES if queue.dead_letter_key
)

QUEUES = {queue.name: queue for queue in (*WORK_QUEUES, *DEAD_LETTER_QUEUES)}

BINDINGS = (
    Binding(SCAN_EXCHANGE, SCAN_VISION, SCAN_VISION),
    Binding(SCAN_EXCHANGE, SCAN_RULE, SCAN_RULE),
    Binding(SCAN_EXCHANGE, SCAN_ANSWER, SCAN_ANSWER),
    Binding(REWARD_EXCHANGE, REWARD_QUEUE, REWARD_QUEUE),
    Binding(CELERY_EXCHANGE, CELERY_QUEUE, CELERY_QUEUE),
    *(Binding(DEAD_LETTER_EXCHANGE, queue.name, queue.name) for queue in DEAD_LETTER_QUEUES),
)


# --- vhost `tasks` ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskQueue:
    """A durable classic queue: quorum queues have no such priorities. Time is milliseconds."""

    name: str
    keys: str
    """Pattern of its binding on `TASKS_EXCHANGE`."""
    max_priority: int | None = None
    ttl: int | None = None
    dead_letters: bool = False
    """True: the broker itself dead-letters what expires or is rejected; failed work is sent there by its worker."""

    @property
    def dead_letter_key(self) -> str:
        """Routing key on `TASKS_EXCHANGE` of this queue's dead letters."""
        return f"dlq.{self.name.removeprefix('q.')}"

    @property
    def arguments(self) -> dict[str, str | int]:
        named = {
            "x-max-priority": self.max_priority,
            "x-message-ttl": self.ttl,
            "x-dead-letter-exchange": TASKS_EXCHANGE if self.dead_letters else None,
            "x-dead-letter-routing-key": self.dead_letter_key if self.dead_letters else None,
        }
        return {key: value for key, value in named.items() if value is not None}


TASK_QUEUES = {
    queue.name: queue
    for queue in (
        TaskQueue(Q_AI, "ai.*", 10, 300_000, dead_letters=True),
        TaskQueue(Q_BATCH, "batch.*", 1, _HOUR, dead_letters=True),
        TaskQueue(Q_API, "api.*", 5, 300_000, dead_letters=True),
        TaskQueue(Q_SCHED, "sched.*", 3),
        TaskQueue(Q_DLQ, "dlq.*"),
    )
}


# --- vhost `chat` -----------------------------------------------------------------------------------------------------

CHAT_EXCHANGES = {CHAT_EXCHANGE: "direct", DEAD_LETTER_EXCHANGE: "direct"}
CHAT_DEAD_LETTERS = "dlq.chat.process"
CHAT_QUEUES = {
    queue.name: queue
    for queue in (
        # A turn that waited longer has failed by then, and its user knows.
        Queue(CHAT_QUEUE, 10 * _MINUTE, 3, CHAT_DEAD_LETTERS),
        Queue(CHAT_DEAD_LETTERS, 7 * 24 * _HOUR),
    )
}
CHAT_BINDINGS = (
    Binding(CHAT_EXCHANGE, CHAT_QUEUE, CHAT_QUEUE),
    Binding(DEAD_LETTER_EXCHANGE, CHAT_DEAD_LETTERS, CHAT_DEAD_LETTERS),
)


def vhost_of(queue: str) -> str:
    """The vhost in which the queue of that name is."""
    if queue in TASK_QUEUES:
        return TASKS_VHOST
    return CHAT_VHOST if queue in CHAT_QUEUES else VHOST
