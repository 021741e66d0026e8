"""RabbitMQ and the port mapper that it needs."""

import shutil
from functools import partial
from pathlib import Path

from eco2.local import config, disk, probes, queue_health
from eco2.local.config import Layout
from eco2.local.queue_health import Management
from eco2.local.servers.common import PLAIN, as_user, missing, own_file, own_folder
from eco2.local.supervisor import Unit


def rabbitmq_server() -> Path:
    """The broker itself: the wrapper in PATH would change to the package's own user and settings."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found:
        raise missing("rabbitmq-server")
    return found[-1]


def _erlang_environment(at: Layout) -> dict[str, str]:
    return {
        **PLAIN,
        "HOME": str(at.folder("rabbitmq")),
        "ERL_EPMD_PORT": str(at.port(config.EPMD)),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # No Erlang process may start a port mapper: it would listen everywhere and outlive the stack.
        "ERL_FLAGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
    }


def epmd(at: Layout) -> Unit:
    """Erlang's port mapper, kept by us: the one that a broker starts by itself would outlive it."""
    binary = shutil.which("epmd", path=PLAIN["PATH"])
    if binary is None:
        raise missing("rabbitmq-server")
    port = at.port(config.EPMD)
    user = as_user("rabbitmq")
    return Unit(
        "epmd",
        "server",
        port,
        (binary,),
        probes.tcp(f"tcp://127.0.0.1:{port}"),
        environment=_erlang_environment(at),
        user=user,
        folder=Path("/"),
        prepare=partial(_prepare, at, user),
    )


def _prepare(at: Layout, user: str | None) -> None:
    folder = own_folder(at.folder("rabbitmq"), user)
    lines = (
        f"listeners.tcp.1 = 127.0.0.1:{at.port_of('rabbitmq')}",
        "management.tcp.ip = 127.0.0.1",
        f"management.tcp.port = {at.port(config.BROKER_MANAGEMENT)}",
        "prometheus.tcp.ip = 127.0.0.1",
        f"prometheus.tcp.port = {at.port(config.BROKER_PROMETHEUS)}",
        "default_user = eco2",
        f"default_pass = {at.credentials.broker_password}",
        "vm_memory_high_watermark.absolute = 512MB",
        f"disk_free_limit.absolute = {disk.REFUSED_BYTES}",
        "raft.wal_max_size_bytes = 33554432",
        # The pages of the management UI are for a person now and then: a sample a minute instead of every 5 s. Alerts
        # are as late as the samples of classic queues.
        f"collect_statistics_interval = {5000 if at.observe else 60000}",
        "",
    )
    own_file(folder / "rabbitmq.conf", "\n".join(lines), user)
    own_file(folder / "enabled_plugins", "[rabbitmq_management,rabbitmq_prometheus].\n", user)
    own_file(folder / "rabbitmq-env.conf", "", user)
    cookie = folder / ".erlang.cookie"
    own_file(cookie, at.credentials.erlang_cookie, user)
    cookie.chmod(0o400)


def management(at: Layout) -> Management:
    return Management(f"http://127.0.0.1:{at.port(config.BROKER_MANAGEMENT)}", "eco2", at.credentials.broker_password)


def _listens(at: Layout) -> probes.Probe:
    """The broker's own health check of its AMQP listener, which it answers when it has started whole."""
    api = management(at)
    return probes.http(f"{api.url}/api/health/checks/port-listener/{at.port_of('rabbitmq')}", (api.authorization,))


def unit(at: Layout) -> Unit:
    user = as_user("rabbitmq")
    folder = at.folder("rabbitmq")
    environment = {
        **_erlang_environment(at),
        "RABBITMQ_NODENAME": "eco2@localhost",
        "RABBITMQ_DIST_PORT": str(at.port(config.BROKER_DISTRIBUTION)),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        # Makes the start script become the broker, so that its pid and its signals are the broker's.
        "RABBITMQ_ALLOW_INPUT": "1",
        # One scheduler, which sleeps while it waits for work: the broker shares the cores with everything else, and
        # each scheduler has heaps of its own.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +SDcpu 1:1 +SDio 2 +sbwt none +sbwtdcpu none +sbwtdio none",
        "RABBITMQ_SERVER_START_ARGS": "-noinput",
    }
    return Unit(
        "rabbitmq",
        "server",
        at.port_of("rabbitmq"),
        (str(rabbitmq_server()),),
        _listens(at),
        needs=("epmd",),
        serving=queue_health.serve(management(at)),
        environment=environment,
        user=user,
        folder=Path("/"),
        side_ports=(
            at.port(config.BROKER_MANAGEMENT),
            at.port(config.BROKER_PROMETHEUS),
            at.port(config.BROKER_DISTRIBUTION),
        ),
    )
