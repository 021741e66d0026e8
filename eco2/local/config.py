"""Folder of a local stack, its generated credentials, and the environment that its processes get."""

import errno
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from eco2.local.addresses import addresses
from eco2.processes import DEFAULT_GATEWAY_PORT, DEFAULT_PORT_BASE, SERVICES, Process, process

CHECKOUT = Path(__file__).resolve().parents[2]
SAMPLES = CHECKOUT / "data" / "samples"
BUCKET, UPLOAD_BUCKET, OPS_BUCKET = "eco2-images", "eco2-uploads", "eco2-ops"
DATABASE = "eco2"
VHOST, TASKS_VHOST, CHAT_VHOST = "eco2", "tasks", "chat"
SAMPLE_FEED = "견본 소식"
EMULATED_KMA_KEY, EMULATED_KMA_SOURCE = "emulated-kma-key", "견본 예보 (지어낸 값이에요)"
FRONTEND = "http://localhost:5173"
NATIVE_REDIRECTS = ("http://127.0.0.1/signed-in", "http://[::1]/signed-in", "kr.eco2.app:/signed-in")
CORS_ORIGINS = (FRONTEND, "http://127.0.0.1:5173", "http://localhost:3000")

# Offsets to the port base that are not in the table of processes: side doors of the private servers.
BROKER_MANAGEMENT, BROKER_PROMETHEUS, EPMD, BROKER_DISTRIBUTION = 5, 6, 7, 8
STORE_MASTER, STORE_VOLUME, STORE_FILER = 11, 12, 13
STORE_MASTER_GRPC, STORE_VOLUME_GRPC, STORE_FILER_GRPC, STORE_S3_GRPC = 14, 15, 16, 17
GATEWAY_ADMIN = 21
OAUTH_EMULATOR = 46
PROMETHEUS, ALERTMANAGER, NODE_EXPORTER, POSTGRES_EXPORTER, REDIS_EXPORTER, TRACES = 9, 59, 58, 57, 55, 56
NEWS_EMULATOR = 18
KMA_EMULATOR = 22
SPAN = 60
"""Number of ports, from the base upwards, that belong to one stack."""


class LocalError(Exception):
    """One sentence for the terminal: the fault and the remedy."""


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.lstrip().startswith("[") else [part.strip() for part in value.split(",")]


Urls = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class LocalSettings(BaseSettings):
    """Settings of a user. A server given by its URL is used instead of a private one."""

    model_config = SettingsConfigDict(env_prefix="ECO2_", frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path | None = None
    port_base: int = Field(default=DEFAULT_PORT_BASE, ge=1024, le=32767 - SPAN)
    gateway_port: int = Field(default=DEFAULT_GATEWAY_PORT, ge=1, le=65535)

    database_url: str | None = None
    redis_streams_url: str | None = None
    redis_cache_url: str | None = None
    broker_url: str | None = None
    broker_management_url: str | None = None
    """Management API of a given broker; default: port 15672 of its host."""
    storage_endpoint: str | None = None
    storage_public_endpoint: str | None = None
    storage_access_key: str | None = None
    storage_secret_key: str | None = None
    cdn_base_url: str | None = None

    cors_origins: Urls | None = None
    """Of web apps that may call the API, as a JSON list or with commas between; default: CORS_ORIGINS."""
    redirect_urls: Urls | None = None
    """Other base URLs of the API, whose callbacks a sign-in may use."""
    native_redirect_uris: Urls | None = None
    """Addresses at which a sign-in of a native app may end; default: NATIVE_REDIRECTS."""
    news_feeds: str | None = None
    """RSS and Atom feeds as JSON, name → address, in the place of the emulated one."""
    kma_service_key: str | None = None
    """Real weather in the place of the emulated one."""
    frontend_url: str | None = None
    """The web app in which a sign-in ends that names none."""

    alert_webhook: str | None = None
    """Address that Alertmanager of `eco2 up --observe` posts to; without it alerts are only shown."""
    alert_pace: int = Field(default=1, ge=1, le=600)
    """For tests: how many times faster than in the cluster alerts go. Windows of rules, the time that a condition has
    to hold and waits of Alertmanager are divided by it; what the rules compare stays."""


def local_settings() -> LocalSettings:
    try:
        return LocalSettings()
    except ValidationError as error:
        wrong = [f"ECO2_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()]
        raise LocalError(f"Correct or unset {'; '.join(wrong)}.") from None


def _token() -> str:
    return secrets.token_hex(24)


def _age_identity() -> str:
    from pyrage import x25519

    return str(x25519.Identity.generate())


def _age_recipient(identity: str) -> str:
    from pyrage import x25519

    return str(x25519.Identity.from_str(identity).to_public())


def _push_key() -> str:
    from eco2.recycling.push import Key

    return Key.make().text


def _push_public(private: str) -> str:
    from eco2.recycling.push import Key

    return Key.read(private).public


@dataclass(frozen=True)
class Credentials:
    """Made once per stack, kept with its data."""

    postgres_admin_password: str = field(default_factory=_token)
    postgres_password: str = field(default_factory=_token)
    redis_streams_password: str = field(default_factory=_token)
    redis_cache_password: str = field(default_factory=_token)
    broker_password: str = field(default_factory=_token)
    erlang_cookie: str = field(default_factory=_token)
    s3_access_key: str = field(default_factory=lambda: secrets.token_hex(10))
    s3_secret_key: str = field(default_factory=_token)
    store_signing_key: str = field(default_factory=_token)
    upload_secret: str = field(default_factory=_token)
    service_secret: str = field(default_factory=_token)
    backup_identity: str = field(default_factory=_age_identity)
    push_private_key: str = field(default_factory=_push_key)


@dataclass(frozen=True)
class Layout:
    """One local stack: its folder, ports and credentials, and the servers the user brings (`ECO2_*` → value)."""

    home: Path
    port_base: int
    gateway_port: int
    credentials: Credentials
    given: Mapping[str, str]
    observe: bool = False
    """Prometheus, Alertmanager, exporters and the collector of traces belong to it."""

    def port(self, offset: int) -> int:
        return self.port_base + offset

    def port_of(self, name: str) -> int:
        return self.gateway_port if name == "gateway" else self.port(process(name).port)

    @property
    def public_url(self) -> str:
        """By the name that web apps on this machine have as well: cookies pass between pages of one host only."""
        return f"http://localhost:{self.gateway_port}"

    @property
    def management_url(self) -> str:
        return self.given.get("ECO2_BROKER_MANAGEMENT_URL") or f"http://127.0.0.1:{self.port(BROKER_MANAGEMENT)}"

    def folder(self, *parts: str) -> Path:
        return self.home.joinpath(*parts)


def home(checkout: Path = CHECKOUT) -> Path:
    """The folder of the stack; it is made by `prepare_home`. LocalError: ECO2_HOME names a folder of other things."""
    chosen = local_settings().home
    if chosen is None:
        return checkout / ".eco2"
    folder = chosen.absolute()
    if folder.resolve() == checkout.resolve() or _holds_other_things(folder):
        raise LocalError(f"ECO2_HOME={chosen} holds other things: set it to a new or empty folder, or unset it.")
    return folder


def _holds_other_things(folder: Path) -> bool:
    filled = folder.is_dir() and any(folder.iterdir())
    return filled and not any((folder / name).exists() for name in ("credentials.json", "state.json"))


def layout(
    folder: Path | None = None, *, port_base: int | None = None, gateway_port: int | None = None, make: bool = True
) -> Layout:
    """The stack of this checkout, or an all-private one in `folder`; makes folder and credentials when missing.

    Without `make` nothing is written: a stack that never was gets credentials that are forgotten again."""
    settings = local_settings()
    where = prepare_home(folder or home()) if make else (folder or home()).resolve()
    file = where / "credentials.json"
    plain = Layout(
        home=where,
        port_base=settings.port_base if port_base is None else port_base,
        gateway_port=settings.gateway_port if gateway_port is None else gateway_port,
        credentials=credentials(file) if make or file.exists() else Credentials(),
        given={},
    )
    if folder is not None:
        return plain
    given = given_servers(settings, private_environment(plain)) | given_web(settings)
    return replace(plain, given=given)


def prepare_home(folder: Path) -> Path:
    """Makes `folder`. Root runs servers as other users: where they cannot reach it, it becomes a link to /var/tmp."""
    try:
        return _make_home(folder)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise LocalError(
            f"{folder} cannot be used ({error.strerror}): set ECO2_HOME to a folder of your own."
        ) from None


def _make_home(folder: Path) -> Path:
    if os.geteuid() != 0 or _others_can_enter(folder.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        return _owned(folder.resolve())
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    reachable = Path("/var/tmp") / f"eco2-{digest}"  # noqa: S108 (owner is checked below)  # nosec B108
    reachable.mkdir(exist_ok=True, mode=0o711)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not folder.exists():
        folder.unlink(missing_ok=True)
        folder.symlink_to(reachable)
    return _owned(reachable)


def _owned(folder: Path) -> Path:
    status = folder.lstat()
    if status.st_uid != os.geteuid() or not folder.is_dir() or folder.is_symlink():
        raise LocalError(f"{folder} belongs to another user; remove it or set ECO2_HOME to a folder of your own.")
    return folder


def _others_can_enter(folder: Path) -> bool:
    existing = [path for path in (folder, *folder.parents) if path.exists()]
    return all(path.stat().st_mode & 0o001 for path in existing)


def credentials(path: Path) -> Credentials:
    """Credentials of the file; missing ones are generated and stored there."""
    known = json.loads(path.read_text()) if path.exists() else {}
    made = Credentials(**known)
    if known.keys() == asdict(made).keys():
        return made
    write_private(path, json.dumps(asdict(made), indent=2))
    return made


def write_private(path: Path, text: str) -> None:
    """Replaces the file in one step; only its owner can read it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def given_servers(settings: LocalSettings, private: Mapping[str, str]) -> dict[str, str]:
    """Servers of the user's own. A value that `eco2 local env` exported is still the private server."""
    named = ("database_url", "redis_streams_url", "redis_cache_url", "broker_url", "storage_endpoint")
    given: dict[str, str] = {}
    for name in named:
        value = getattr(settings, name)
        if value and value != private[f"ECO2_{name.upper()}"]:
            given[f"ECO2_{name.upper()}"] = _checked(name, value)
    if "ECO2_BROKER_URL" in given:
        default = f"http://{urlsplit(given['ECO2_BROKER_URL']).hostname}:15672"
        given["ECO2_BROKER_MANAGEMENT_URL"] = settings.broker_management_url or default
    if "ECO2_STORAGE_ENDPOINT" in given:
        given |= _given_store(settings, given["ECO2_STORAGE_ENDPOINT"])
    return given


def given_web(settings: LocalSettings) -> dict[str, str]:
    """Web apps and addresses of the user's own, as the services read them."""
    given: dict[str, str] = {}
    origins = settings.cors_origins
    if settings.frontend_url:
        given["ECO2_FRONTEND_URL"] = origin(settings.frontend_url, "ECO2_FRONTEND_URL")
        origins = (settings.frontend_url, *(CORS_ORIGINS if origins is None else origins))
    if origins is not None:
        given["ECO2_CORS_ORIGINS"] = _origins(origins, "ECO2_CORS_ORIGINS")
    if settings.native_redirect_uris is not None:
        given["ECO2_NATIVE_REDIRECT_URIS"] = json.dumps(settings.native_redirect_uris)
    if settings.news_feeds:
        given["ECO2_NEWS_FEEDS"] = settings.news_feeds
    if settings.kma_service_key and settings.kma_service_key != EMULATED_KMA_KEY:
        given["ECO2_KMA_SERVICE_KEY"] = settings.kma_service_key
    if settings.redirect_urls is not None:
        given["ECO2_REDIRECT_URLS"] = _origins(settings.redirect_urls, "ECO2_REDIRECT_URLS")
    return given


def _origins(urls: Iterable[str], source: str) -> str:
    return json.dumps(list(dict.fromkeys(origin(url, source) for url in urls)))


def origin(url: str, source: str) -> str:
    """`url` as a browser writes the origin. LocalError names `source` where it is none."""
    parts = urlsplit(url)
    try:
        is_one = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and parts.username is None
    except ValueError:
        is_one = False
    if not is_one or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise LocalError(f"{source}: {url!r} is no origin of a web app: write it as http://localhost:3000.")
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(f':{default}')}"


def with_origins(at: Layout, urls: Collection[str]) -> Layout:
    """Allows more web apps."""
    if not urls:
        return at
    allowed = json.loads(environment(at)["ECO2_CORS_ORIGINS"])
    return replace(at, given={**at.given, "ECO2_CORS_ORIGINS": _origins((*allowed, *urls), "--origin")})


def _checked(name: str, url: str) -> str:
    try:
        addresses(url)
    except ValueError as error:
        variable = f"ECO2_{name.upper()}"
        raise LocalError(f"{variable} is no address of a server ({error}): correct or unset it.") from None
    return url


def _given_store(settings: LocalSettings, endpoint: str) -> dict[str, str]:
    if not settings.storage_access_key or not settings.storage_secret_key:
        raise LocalError(
            "ECO2_STORAGE_ENDPOINT is set: set ECO2_STORAGE_ACCESS_KEY and ECO2_STORAGE_SECRET_KEY as well."
        )
    public = settings.storage_public_endpoint or endpoint
    return {
        "ECO2_STORAGE_PUBLIC_ENDPOINT": public,
        "ECO2_STORAGE_ACCESS_KEY": settings.storage_access_key,
        "ECO2_STORAGE_SECRET_KEY": settings.storage_secret_key,
        "ECO2_CDN_BASE_URL": settings.cdn_base_url or f"{public}/{BUCKET}",
    }


def private_environment(at: Layout) -> dict[str, str]:
    secret = at.credentials
    return {
        "ECO2_DATABASE_URL": f"postgresql://eco2:{secret.postgres_password}@127.0.0.1:{at.port_of('postgres')}/{DATABASE}",
        "ECO2_REDIS_STREAMS_URL": (
            f"redis://:{secret.redis_streams_password}@127.0.0.1:{at.port_of('redis-streams')}/0"
        ),
        "ECO2_REDIS_CACHE_URL": f"redis://:{secret.redis_cache_password}@127.0.0.1:{at.port_of('redis-cache')}/0",
        "ECO2_BROKER_URL": f"amqp://eco2:{secret.broker_password}@127.0.0.1:{at.port_of('rabbitmq')}/{VHOST}",
        "ECO2_STORAGE_ENDPOINT": f"http://127.0.0.1:{at.port_of('object-store')}",
        "ECO2_STORAGE_PUBLIC_ENDPOINT": at.public_url,
        "ECO2_STORAGE_ACCESS_KEY": secret.s3_access_key,
        "ECO2_STORAGE_SECRET_KEY": secret.s3_secret_key,
        "ECO2_CDN_BASE_URL": f"{at.public_url}/{BUCKET}",
    }


def environment(at: Layout) -> dict[str, str]:
    """All `ECO2_*` variables that our processes share."""
    servers = {**private_environment(at), **at.given}
    return {
        **servers,
        "ECO2_TASKS_BROKER_URL": urlsplit(servers["ECO2_BROKER_URL"])._replace(path=f"/{TASKS_VHOST}").geturl(),
        "ECO2_CHAT_BROKER_URL": urlsplit(servers["ECO2_BROKER_URL"])._replace(path=f"/{CHAT_VHOST}").geturl(),
        "ECO2_ENVIRONMENT": "local",
        "ECO2_HOME": str(at.home),
        "ECO2_PORT_BASE": str(at.port_base),
        "ECO2_GATEWAY_PORT": str(at.gateway_port),
        "ECO2_STORAGE_BUCKET": BUCKET,
        "ECO2_UPLOAD_BUCKET": UPLOAD_BUCKET,
        "ECO2_OPS_BUCKET": OPS_BUCKET,
        "ECO2_BACKUP_RECIPIENT": _age_recipient(at.credentials.backup_identity),
        "ECO2_PUSH_PRIVATE_KEYS": at.credentials.push_private_key,
        "ECO2_PUSH_PUBLIC_KEY": _push_public(at.credentials.push_private_key),
        "ECO2_UPLOAD_SECRET": at.credentials.upload_secret,
        "ECO2_SERVICE_SECRET": at.credentials.service_secret,
        "ECO2_SIGNING_KEYS_DIR": str(at.folder("keys")),
        "ECO2_ISSUER": issuer(at),
        "ECO2_MODEL_DIR": str(at.folder("models")),
        "ECO2_CORS_ORIGINS": json.dumps(CORS_ORIGINS),
        "ECO2_PUBLIC_URL": at.public_url,
        "ECO2_REDIRECT_URLS": json.dumps([f"http://127.0.0.1:{at.gateway_port}"]),
        "ECO2_FRONTEND_URL": FRONTEND,
        "ECO2_NATIVE_REDIRECT_URIS": json.dumps(NATIVE_REDIRECTS),
        "ECO2_OAUTH_EMULATOR_URL": f"http://127.0.0.1:{at.port(OAUTH_EMULATOR)}",
        "ECO2_NEWS_EMULATOR_URL": f"http://127.0.0.1:{at.port(NEWS_EMULATOR)}",
        "ECO2_NEWS_JITTER": "0",
        "ECO2_NEWS_FEEDS": json.dumps({SAMPLE_FEED: f"http://127.0.0.1:{at.port(NEWS_EMULATOR)}/feed.xml"}),
        "ECO2_BULK_FEES": str(SAMPLES / "bulk_fees.csv"),
        "ECO2_RECYCLABLE_PRICES": str(SAMPLES / "recyclable_prices.csv"),
        **grpc_addresses(at),
        **_emulated_weather(at),
        **(_traced(at) if at.observe else {}),
        **at.given,
    }


def _emulated_weather(at: Layout) -> dict[str, str]:
    if "ECO2_KMA_SERVICE_KEY" in at.given:
        return {}
    return {
        "ECO2_KMA_SERVICE_KEY": EMULATED_KMA_KEY,
        "ECO2_KMA_URL": f"http://127.0.0.1:{at.port(KMA_EMULATOR)}",
        "ECO2_KMA_SOURCE": EMULATED_KMA_SOURCE,
    }


def _traced(at: Layout) -> dict[str, str]:
    """The second is the SDK's own: a span is worth looking at as soon as the scan is over."""
    return {"ECO2_OTLP_ENDPOINT": f"http://127.0.0.1:{at.port(TRACES)}", "OTEL_BSP_SCHEDULE_DELAY": "500"}


def grpc_addresses(at: Layout) -> dict[str, str]:
    """`ECO2_GRPC_<PROCESS>` → `host:port` of every process that answers gRPC to others of ours."""
    rows = [row for row in SERVICES if row.kind != "grpc" and row.grpc_port is not None]
    return {
        f"ECO2_GRPC_{row.name.upper().replace('-', '_')}": f"127.0.0.1:{at.port(row.grpc_port or 0)}" for row in rows
    }


def issuer(at: Layout) -> str:
    return f"{at.public_url}/api/v1/auth"


def process_environment(at: Layout, row: Process) -> dict[str, str]:
    """Variables that a process gets besides the shared ones."""
    ports = {"ECO2_PORT": str(at.port(row.port))}
    if row.grpc_port is not None:
        ports["ECO2_GRPC_PORT"] = str(at.port(row.grpc_port))
    return ports


def route_ports(at: Layout) -> dict[str, int]:
    """In-cluster service host → local port, as the routes need it; ext-authz by its gRPC port."""
    routed = [row for row in SERVICES if row.kind != "worker"]
    asked = {row.service: row.grpc_port if row.kind == "grpc" else row.port for row in routed if row.service}
    return {service: at.port(port or 0) for service, port in asked.items()}
