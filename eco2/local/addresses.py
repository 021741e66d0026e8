"""Host and port of a server, from its URL."""

from urllib.parse import urlsplit

_PORTS = {
    "postgresql": 5432,
    "redis": 6379,
    "rediss": 6379,
    "redis+sentinel": 26379,
    "amqp": 5672,
    "amqps": 5671,
    "http": 80,
    "https": 443,
}


def addresses(url: str) -> list[tuple[str, int]]:
    """Hosts with their ports, several where the URL names several (`host:port,host:port`). ValueError: none."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2].split(",")
    return [_address(f"//{host}", _PORTS.get(parts.scheme)) for host in hosts]


def _address(host: str, default: int | None) -> tuple[str, int]:
    parts = urlsplit(host)
    port = parts.port or default
    if not parts.hostname or not port:
        raise ValueError("a host or its port is missing")
    return parts.hostname, port
