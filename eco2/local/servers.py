"""The private servers: how each is prepared, started, asked whether it is ready, and ended.

All listen on 127.0.0.1 only. PostgreSQL and RabbitMQ refuse root or should not have it, so root starts them, and
Redis, as the users that their packages bring; anyone else starts them as themselves.
"""

import base64
import json
import os
import pwd
import shutil
import signal
import sysconfig
from functools import partial
from pathlib import Path
from subprocess import PIPE, STDOUT, run
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from eco2.local import config, probes
from eco2.local.config import Layout, LocalError
from eco2.local.supervisor import Unit

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CORSRuleTypeDef

_PLAIN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
"""The servers get no variable of the user's, so that none changes how they behave."""

PACKAGES = (
    "postgresql-15",
    "postgresql-15-postgis-3",
    "redis-server",
    "redis-sentinel",
    "rabbitmq-server",
    "libpangoft2-1.0-0",
    "libharfbuzz-subset0",
    "fonts-nanum",
)


def missing(package: str) -> LocalError:
    return LocalError(f"{package} is not installed: run `sudo apt-get install {' '.join(PACKAGES)}`.")


def _as(user: str) -> str | None:
    return user if os.geteuid() == 0 else None


def _give(path: Path, user: str | None) -> None:
    if user:
        owner = pwd.getpwnam(user)
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _own_folder(path: Path, user: str | None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    _give(path, user)
    return path


def _own_file(path: Path, text: str, user: str | None) -> None:
    config.write_private(path, text)
    _give(path, user)


# PostgreSQL


def postgres_bin(data: Path | None = None) -> Path:
    """The folder of the newest installed release, or of the release that made `data`."""
    made_by = data / "PG_VERSION" if data else None
    release = made_by.read_text().strip() if made_by and made_by.exists() else "*"
    found = sorted(Path("/usr/lib/postgresql").glob(f"{release}/bin/postgres"), key=lambda p: int(p.parts[4]))
    if not found:
        raise missing("PostgreSQL")
    return found[-1].parent


def _prepare_postgres(at: Layout, user: str | None) -> None:
    folder = _own_folder(at.folder("postgres"), user)
    data = folder / "data"
    if (data / "PG_VERSION").exists():
        return
    password = folder / "password"
    _own_file(password, at.credentials.postgres_admin_password, user)
    command = [f"{postgres_bin()}/initdb", f"--pgdata={data}", "--username=postgres", f"--pwfile={password}"]
    options = ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions"]
    made = run([*command, *options], user=user, group=user, env=_PLAIN, stdout=PIPE, stderr=STDOUT, text=True, cwd="/")
    password.unlink()
    if made.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise LocalError(f"PostgreSQL could not make its data folder: {made.stdout.strip().splitlines()[-1]}")


def setup_database(at: Layout) -> None:
    """Role, database and PostGIS of our own; what exists is left alone. PostGIS needs the superuser once."""
    from psycopg import connect
    from psycopg.sql import SQL, Literal

    admin = f"postgresql://postgres:{at.credentials.postgres_admin_password}@127.0.0.1:{at.port_of('postgres')}"
    with connect(f"{admin}/postgres", autocommit=True) as db:
        if not db.execute("SELECT 1 FROM pg_roles WHERE rolname = 'eco2'").fetchone():
            # The path belongs to the role, not to the database, so that databases cloned in tests have it too.
            password = Literal(at.credentials.postgres_password)
            db.execute(SQL("CREATE ROLE eco2 LOGIN CREATEDB PASSWORD {}").format(password))
            db.execute("ALTER ROLE eco2 SET search_path = public, postgis")
        if not db.execute("SELECT 1 FROM pg_database WHERE datname = 'eco2'").fetchone():
            db.execute("CREATE DATABASE eco2 OWNER eco2")
    # The template, too: a backup is proven in a scratch database, which no superuser makes.
    for name in (config.DATABASE, "template1"):
        with connect(f"{admin}/{name}", autocommit=True) as db:
            db.execute("CREATE SCHEMA IF NOT EXISTS postgis")
            db.execute("GRANT USAGE ON SCHEMA postgis TO PUBLIC")
            db.execute("CREATE EXTENSION IF NOT EXISTS postgis SCHEMA postgis")


def postgres(at: Layout) -> Unit:
    user = _as("postgres")
    data = at.folder("postgres", "data")
    admin = at.credentials.postgres_admin_password
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(at.port_of("postgres")),
        "unix_socket_directories": "",
        "shared_buffers": "64MB",
        "jit": "off",  # the library would be loaded into every connection that meets an expensive statement
        "max_connections": "200",
        "fsync": "on",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    return Unit(
        "postgres",
        "server",
        at.port_of("postgres"),
        (str(postgres_bin(data) / "postgres"), "-D", str(data), *settings),
        probes.postgres(f"postgresql://postgres:{admin}@127.0.0.1:{at.port_of('postgres')}/postgres"),
        environment=_PLAIN,
        user=user,
        folder=Path("/"),
        stop_signal=signal.SIGINT,  # "fast": ends sessions instead of waiting for them
        prepare=partial(_prepare_postgres, at, user),
    )


# Redis


def _prepare_redis(at: Layout, name: str, lines: tuple[str, ...], user: str | None) -> None:
    folder = _own_folder(at.folder(name), user)
    common = (
        "bind 127.0.0.1",
        f"port {at.port_of(name)}",
        f"dir {folder}",
        "daemonize no",
        'save ""',
        *lines,
    )
    _own_file(folder / "redis.conf", "\n".join((*common, "")), user)


def _redis(at: Layout, name: str, password: str, lines: tuple[str, ...]) -> Unit:
    binary = shutil.which("redis-server", path=_PLAIN["PATH"])
    if binary is None:
        raise missing("redis-server")
    user = _as("redis")
    port = at.port_of(name)
    return Unit(
        name,
        "server",
        port,
        (binary, str(at.folder(name, "redis.conf"))),
        probes.redis(f"redis://:{password}@127.0.0.1:{port}/0"),
        environment=_PLAIN,
        user=user,
        folder=Path("/"),
        prepare=partial(_prepare_redis, at, name, (f"requirepass {password}", *lines), user),
    )


def redis_streams(at: Layout) -> Unit:
    lines = ("appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction")
    return _redis(at, "redis-streams", at.credentials.redis_streams_password, lines)


def redis_cache(at: Layout) -> Unit:
    lines = ("appendonly no", "maxmemory 128mb", "maxmemory-policy allkeys-lru")
    return _redis(at, "redis-cache", at.credentials.redis_cache_password, lines)


# RabbitMQ


def rabbitmq_server() -> Path:
    """The broker itself: the wrapper in PATH would change to the package's own user and settings."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found:
        raise missing("rabbitmq-server")
    return found[-1]


def _erlang_environment(at: Layout) -> dict[str, str]:
    return {
        **_PLAIN,
        "HOME": str(at.folder("rabbitmq")),
        "ERL_EPMD_PORT": str(at.port(config.EPMD)),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # No Erlang process may start a port mapper: it would listen everywhere and outlive the stack.
        "ERL_FLAGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
    }


def epmd(at: Layout) -> Unit:
    """Erlang's port mapper, kept by us: the one that a broker starts by itself would outlive it."""
    binary = shutil.which("epmd", path=_PLAIN["PATH"])
    if binary is None:
        raise missing("rabbitmq-server")
    port = at.port(config.EPMD)
    user = _as("rabbitmq")
    return Unit(
        "epmd",
        "server",
        port,
        (binary,),
        probes.tcp(f"tcp://127.0.0.1:{port}"),
        environment=_erlang_environment(at),
        user=user,
        folder=Path("/"),
        prepare=partial(_prepare_rabbitmq, at, user),
    )


def _prepare_rabbitmq(at: Layout, user: str | None) -> None:
    folder = _own_folder(at.folder("rabbitmq"), user)
    lines = (
        f"listeners.tcp.1 = 127.0.0.1:{at.port_of('rabbitmq')}",
        "management.tcp.ip = 127.0.0.1",
        f"management.tcp.port = {at.port(config.BROKER_MANAGEMENT)}",
        "prometheus.tcp.ip = 127.0.0.1",
        f"prometheus.tcp.port = {at.port(config.BROKER_PROMETHEUS)}",
        "default_user = eco2",
        f"default_pass = {at.credentials.broker_password}",
        "vm_memory_high_watermark.absolute = 512MB",
        "disk_free_limit.absolute = 200MB",
        "raft.wal_max_size_bytes = 33554432",
        # The pages of the management UI are for a person now and then: a sample a minute instead of every 5 s.
        "collect_statistics_interval = 60000",
        "",
    )
    _own_file(folder / "rabbitmq.conf", "\n".join(lines), user)
    _own_file(folder / "enabled_plugins", "[rabbitmq_management,rabbitmq_prometheus].\n", user)
    _own_file(folder / "rabbitmq-env.conf", "", user)
    cookie = folder / ".erlang.cookie"
    _own_file(cookie, at.credentials.erlang_cookie, user)
    cookie.chmod(0o400)


def _broker_listens(at: Layout) -> probes.Probe:
    """The broker's own health check of its AMQP listener, which it answers when it has started whole."""
    login = base64.b64encode(f"eco2:{at.credentials.broker_password}".encode()).decode()
    url = f"http://127.0.0.1:{at.port(config.BROKER_MANAGEMENT)}/api/health/checks/port-listener/"
    return probes.http(f"{url}{at.port_of('rabbitmq')}", (f"Authorization: Basic {login}",))


def rabbitmq(at: Layout) -> Unit:
    user = _as("rabbitmq")
    folder = at.folder("rabbitmq")
    management = at.port(config.BROKER_MANAGEMENT)
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
        _broker_listens(at),
        needs=("epmd",),
        environment=environment,
        user=user,
        folder=Path("/"),
        side_ports=(management, at.port(config.BROKER_PROMETHEUS), at.port(config.BROKER_DISTRIBUTION)),
    )


# SeaweedFS


def _script(name: str) -> Path:
    """A program that came as a wheel."""
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise LocalError(f"{name} is not installed in this environment: run `scripts/bootstrap`.")
    return path


def _prepare_object_store(at: Layout) -> None:
    folder = _own_folder(at.folder("object-store"), None)
    key = {"accessKey": at.credentials.s3_access_key, "secretKey": at.credentials.s3_secret_key}
    identity = {"name": "eco2", "credentials": [key], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    _own_file(folder / "s3.json", json.dumps({"identities": [identity]}), None)


_STORE_SIDE_PORTS = {
    "master.port": config.STORE_MASTER,
    "master.port.grpc": config.STORE_MASTER_GRPC,
    "volume.port": config.STORE_VOLUME,
    "volume.port.grpc": config.STORE_VOLUME_GRPC,
    "filer.port": config.STORE_FILER,
    "filer.port.grpc": config.STORE_FILER_GRPC,
    "s3.port.grpc": config.STORE_S3_GRPC,
}


def object_store(at: Layout) -> Unit:
    folder = at.folder("object-store")
    port = at.port_of("object-store")
    options = {
        "dir": str(folder),
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3": "true",
        "s3.port": str(port),
        "s3.config": str(folder / "s3.json"),
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
        "s3.localSocket": str(folder / "s3.sock"),
        "filer": "true",
        "filer.localSocket": str(folder / "filer.sock"),
        "master.telemetry": "false",
        "master.electionTimeout": "500ms",  # it is alone: no need to wait 10 s for other masters
        "master.heartbeatInterval": "100ms",
        "master.volumeSizeLimitMB": "256",
        "volume.max": "100",
        "volume.preStopSeconds": "0",
        **{name: str(at.port(offset)) for name, offset in _STORE_SIDE_PORTS.items()},
    }
    return Unit(
        "object-store",
        "server",
        port,
        (str(_script("weed")), "-logtostderr", "server", *(f"-{key}={value}" for key, value in options.items())),
        probes.http(f"http://127.0.0.1:{port}/status"),
        # Its garbage collector is told to keep the heap small: the defaults let it grow to 350 MB.
        environment={**_PLAIN, "HOME": str(folder), "GOGC": "50", "GOMEMLIMIT": "256MiB"},
        folder=folder,
        stop_seconds=3,  # its filer waits 15 s for its own streams; what it stored is in the files already
        prepare=partial(_prepare_object_store, at),
        side_ports=tuple(at.port(offset) for offset in _STORE_SIDE_PORTS.values()),
    )


def setup_buckets(environment: dict[str, str]) -> None:
    """Of images: browsers of our origins may upload, anyone may read an object, nobody list them. And a private one."""
    import boto3
    from botocore.exceptions import ClientError

    bucket = environment["ECO2_STORAGE_BUCKET"]
    s3 = boto3.client(
        "s3",
        endpoint_url=environment["ECO2_STORAGE_ENDPOINT"],
        aws_access_key_id=environment["ECO2_STORAGE_ACCESS_KEY"],
        aws_secret_access_key=environment["ECO2_STORAGE_SECRET_KEY"],
        region_name="ap-northeast-2",
    )
    for name in (bucket, environment["ECO2_OPS_BUCKET"]):
        try:
            s3.head_bucket(Bucket=name)
        except ClientError:
            s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-2"})
    rule: CORSRuleTypeDef = {
        "AllowedOrigins": json.loads(environment["ECO2_CORS_ORIGINS"]),
        "AllowedMethods": ["PUT", "GET", "HEAD"],
        "AllowedHeaders": ["Content-Type"],
    }
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    read = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [read]}))


# Envoy


def _prepare_gateway(at: Layout) -> None:
    from eco2.local import envoy

    text = envoy.render(
        ports=config.route_ports(at),
        gateway_port=at.gateway_port,
        admin_port=at.port(config.GATEWAY_ADMIN),
        object_store_port=urlsplit(config.environment(at)["ECO2_STORAGE_ENDPOINT"]).port or 80,
        bucket=config.BUCKET,
        cors_origins=config.CORS_ORIGINS,
        issuer=config.issuer(at),
    )
    folder = _own_folder(at.folder("gateway"), None)
    config.write_private(folder / "envoy.yaml", text)


def gateway(at: Layout) -> Unit:
    admin = at.port(config.GATEWAY_ADMIN)
    file = at.folder("gateway", "envoy.yaml")
    arguments = ("-c", str(file), "--base-id", str(at.port_base), "--log-level", "warn", "--concurrency", "2")
    return Unit(
        "gateway",
        "server",
        at.gateway_port,
        (str(_script("envoy")), *arguments),
        probes.http(f"http://127.0.0.1:{admin}/ready"),
        environment=_PLAIN,
        folder=Path("/"),
        prepare=partial(_prepare_gateway, at),
        side_ports=(admin,),
    )


PRIVATE = {
    "postgres": postgres,
    "redis-streams": redis_streams,
    "redis-cache": redis_cache,
    "rabbitmq": rabbitmq,
    "object-store": object_store,
    "gateway": gateway,
}
