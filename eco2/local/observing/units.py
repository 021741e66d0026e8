"""Units that watch a stack. All listen on 127.0.0.1, store their data in the stack's folder, and run as the user of
the stack."""

import json
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from eco2.local import config, probes
from eco2.local.config import Layout
from eco2.local.observing import programs, rules, scraping
from eco2.local.servers.common import PLAIN, own_file, own_folder
from eco2.local.supervisor import Unit

LEAN = {**PLAIN, "GOGC": "50"}
"""Returns memory sooner, for a little CPU, as these programs share the machine with the platform."""
NODE_COLLECTORS = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "time", "uname", "vmstat")
KEPT_TIME, KEPT_SIZE = "3d", "512MB"
ALWAYS = ("prometheus", "alertmanager", "node-exporter", "traces")


def units(at: Layout, running: Collection[str]) -> list[Unit]:
    """`running`: names of the other units of the stack."""
    made = [_traces(at), _prometheus(at, running), _alertmanager(at), _node_exporter(at)]
    if "postgres" in running:
        made.append(_postgres_exporter(at))
    if scraping.redis_urls(at, running):
        made.append(_redis_exporter(at, running))
    return made


def _unit(
    at: Layout,
    name: str,
    offset: int,
    program: str,
    *arguments: str,
    ready: str = "/-/ready",
    prepare: Callable[[], None] | None = None,
    **environment: str,
) -> Unit:
    port = at.port(offset)
    return Unit(
        name,
        "server",
        port,
        (programs.path(program), *arguments),
        probes.http(f"http://127.0.0.1:{port}{ready}"),
        environment={**LEAN, **environment},
        folder=Path("/"),
        prepare=prepare,
    )


def _listen(at: Layout, offset: int) -> str:
    return f"--web.listen-address=127.0.0.1:{at.port(offset)}"


def _traces(at: Layout) -> Unit:
    port = at.port(config.TRACES)
    command = (sys.executable, "-m", "eco2.local.observing.traces", "--port", str(port))
    return Unit(
        "traces", "server", port, command, probes.http(f"http://127.0.0.1:{port}/ready"), folder=config.CHECKOUT
    )


def _prometheus(at: Layout, running: Collection[str]) -> Unit:
    folder = at.folder("prometheus")
    own_pages = f"http://(127\\.0\\.0\\.1|localhost):{at.port(config.PROMETHEUS)}"
    return _unit(
        at,
        "prometheus",
        config.PROMETHEUS,
        "prometheus",
        _listen(at, config.PROMETHEUS),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--storage.tsdb.retention.time={KEPT_TIME}",
        f"--storage.tsdb.retention.size={KEPT_SIZE}",
        f"--web.cors.origin={own_pages}",  # the default lets every page that a browser shows read it
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
        prepare=partial(_prepare_prometheus, at, running),
    )


def _prepare_prometheus(at: Layout, running: Collection[str]) -> None:
    pace = config.local_settings().alert_pace
    folder = own_folder(at.folder("prometheus"), None)
    own_file(folder / scraping.RULES, _yaml({"groups": rules.rule_groups(pace)}), None)
    own_file(folder / "prometheus.yaml", _yaml(scraping.prometheus(at, running, pace)), None)


def _yaml(content: object) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _alertmanager(at: Layout) -> Unit:
    folder = at.folder("alertmanager")
    return _unit(
        at,
        "alertmanager",
        config.ALERTMANAGER,
        "prometheus-alertmanager",
        _listen(at, config.ALERTMANAGER),
        f"--config.file={folder / 'alertmanager.yaml'}",
        f"--storage.path={folder / 'data'}",
        "--cluster.listen-address=",  # alone
        "--log.level=warn",
        prepare=partial(_prepare_alertmanager, at),
    )


def _prepare_alertmanager(at: Layout) -> None:
    settings = config.local_settings()
    content = rules.alertmanager(rules.to_webhook(settings.alert_webhook), settings.alert_pace)
    own_file(own_folder(at.folder("alertmanager"), None) / "alertmanager.yaml", _yaml(content), None)


def _node_exporter(at: Layout) -> Unit:
    return _unit(
        at,
        "node-exporter",
        config.NODE_EXPORTER,
        "prometheus-node-exporter",
        _listen(at, config.NODE_EXPORTER),
        "--collector.disable-defaults",
        *(f"--collector.{name}" for name in NODE_COLLECTORS),
        "--log.level=warn",
        ready="/metrics",
    )


def _postgres_exporter(at: Layout) -> Unit:
    """As the cluster's sidecar: on the database of the platform, with a user that may read statistics."""
    url = at.given.get("ECO2_DATABASE_URL")
    admin = at.credentials.postgres_admin_password
    own = f"postgresql://postgres:{admin}@127.0.0.1:{at.port_of('postgres')}/{config.DATABASE}?sslmode=disable"
    return _unit(
        at,
        "postgres-exporter",
        config.POSTGRES_EXPORTER,
        "prometheus-postgres-exporter",
        _listen(at, config.POSTGRES_EXPORTER),
        "--log.level=warn",
        ready="/",
        DATA_SOURCE_NAME=url or own,
    )


def _redis_exporter(at: Layout, running: Collection[str]) -> Unit:
    folder = at.folder("redis-exporter")
    return _unit(
        at,
        "redis-exporter",
        config.REDIS_EXPORTER,
        "prometheus-redis-exporter",
        f"-web.listen-address=127.0.0.1:{at.port(config.REDIS_EXPORTER)}",
        "-redis.addr=",
        f"-redis.password-file={folder / 'passwords.json'}",
        ready="/health",
        prepare=partial(_prepare_redis_exporter, at, running),
    )


def _prepare_redis_exporter(at: Layout, running: Collection[str]) -> None:
    urls = scraping.redis_urls(at, running).values()
    passwords = {scraping.redis_address(url): urlsplit(url).password or "" for url in urls}
    own_file(own_folder(at.folder("redis-exporter"), None) / "passwords.json", json.dumps(passwords), None)
