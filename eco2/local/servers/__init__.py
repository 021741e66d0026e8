"""The private servers: preparation, start, readiness check and end of each.

All listen on 127.0.0.1 only. PostgreSQL and RabbitMQ refuse root or should not have it, so root starts them, and
Redis, as the users that their packages bring; anyone else starts them as themselves.
"""

from eco2.local.servers import gateway, object_store, postgres, rabbitmq, redis
from eco2.local.servers.common import PACKAGES, missing
from eco2.local.servers.object_store import setup_buckets
from eco2.local.servers.postgres import postgres_bin, setup_database
from eco2.local.servers.rabbitmq import epmd, rabbitmq_server

PRIVATE = {
    "postgres": postgres.unit,
    "redis-streams": redis.streams,
    "redis-cache": redis.cache,
    "rabbitmq": rabbitmq.unit,
    "object-store": object_store.unit,
    "gateway": gateway.unit,
}

__all__ = [
    "PACKAGES",
    "PRIVATE",
    "epmd",
    "missing",
    "postgres_bin",
    "rabbitmq_server",
    "setup_buckets",
    "setup_database",
]
