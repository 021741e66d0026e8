"""The two Redis servers: streams, which never evicts, and a cache, which may."""

import shutil
from functools import partial
from pathlib import Path

from eco2.local import probes
from eco2.local.config import Layout
from eco2.local.servers.common import PLAIN, as_user, missing, own_file, own_folder
from eco2.local.supervisor import Unit


def _prepare(at: Layout, name: str, lines: tuple[str, ...], user: str | None) -> None:
    folder = own_folder(at.folder(name), user)
    common = (
        "bind 127.0.0.1",
        f"port {at.port_of(name)}",
        f"dir {folder}",
        "daemonize no",
        'save ""',
        *lines,
    )
    own_file(folder / "redis.conf", "\n".join((*common, "")), user)


def _unit(at: Layout, name: str, password: str, lines: tuple[str, ...]) -> Unit:
    binary = shutil.which("redis-server", path=PLAIN["PATH"])
    if binary is None:
        raise missing("redis-server")
    user = as_user("redis")
    port = at.port_of(name)
    return Unit(
        name,
        "server",
        port,
        (binary, str(at.folder(name, "redis.conf"))),
        probes.redis(f"redis://:{password}@127.0.0.1:{port}/0"),
        environment=PLAIN,
        user=user,
        folder=Path("/"),
        prepare=partial(_prepare, at, name, (f"requirepass {password}", *lines), user),
    )


def streams(at: Layout) -> Unit:
    # A job's log (some ten frames, the last one about 2 kB) stays one compact block of memory.
    compact = ("zset-max-listpack-entries 64", "zset-max-listpack-value 8192")
    lines = ("appendonly yes", "appendfsync everysec", "maxmemory 1gb", "maxmemory-policy noeviction", *compact)
    return _unit(at, "redis-streams", at.credentials.redis_streams_password, lines)


def cache(at: Layout) -> Unit:
    lines = ("appendonly no", "maxmemory 128mb", "maxmemory-policy allkeys-lru")
    return _unit(at, "redis-cache", at.credentials.redis_cache_password, lines)
