"""Typed settings. Each process composes its `Settings` from the groups below; nothing else reads the environment.

Every field is read from `ECO2_<FIELD>`. A field without a safe default has none: a process that lacks it, or gets a
password that can be guessed, refuses to start and names the variable. Only in the environment `local`, which
has to be named like every other, may a server of one's own have such a password or none.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_KNOWN_PASSWORDS = ("guest:guest@", "admin:admin", "changeme", "change-me", ":password@", ":secret@")


def _no_default_password(url: str) -> str:
    if any(known in url for known in _KNOWN_PASSWORDS):
        raise ValueError("carries a well-known default password; generate one")
    return url


SERVERS = frozenset({"postgresql", "redis", "rediss", "redis+sentinel", "amqp", "amqps"})
"""Schemes of URLs that carry a password."""
SECRET_LENGTH, SECRET_LETTERS = 16, 8
"""A secret is at least so long and has at least so many different characters."""


def weakness(name: str, value: str) -> str | None:
    """Reason to refuse the setting `name` as a secret of ours; secrets of OAuth clients are made by others."""
    scheme, separator, _ = value.partition("://")
    if separator and scheme in SERVERS:
        return _weak(unquote(urlsplit(value).password or ""))
    ours = name.endswith(("_secret", "_secret_key")) and not name.endswith("client_secret")
    return _weak(value) if ours else None


def _weak(secret: str) -> str | None:
    if not secret:
        return "has no password"
    if len(secret) < SECRET_LENGTH:
        return f"has a password of less than {SECRET_LENGTH} characters"
    if len(set(secret.lower())) < SECRET_LETTERS or secret.lower() in _ROWS:
        return "has a password that can be guessed"
    return None


_ROWS = ("0123456789abcdef", "abcdefghijklmnop", "qwertyuiopasdfgh", "1234567890123456")


def _seconds(value: object) -> object:
    return float(value) if isinstance(value, str) and value.replace(".", "", 1).isdecimal() else value


Duration = Annotated[timedelta, BeforeValidator(_seconds)]
"""In the environment: seconds (`90`, `0.5`) or ISO 8601 (`PT2H`)."""

ServerUrl = Annotated[str, AfterValidator(_no_default_password)]


class SettingsGroup(BaseSettings):
    """Base of every group: where its fields are read from."""

    model_config = SettingsConfigDict(env_prefix="ECO2_", frozen=True, extra="ignore", env_ignore_empty=True)


class Settings(SettingsGroup):
    """Settings of every process."""

    environment: Literal["local", "dev", "staging", "prod"]
    """Without a default: what forgot to say where it runs must not get the ease of `local`."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, lt=65536)
    grpc_port: int = Field(default=50051, ge=0, lt=65536)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    service_secret: str | None = Field(default=None, min_length=32)
    """Key that all processes share: proofs of identity headers and of calls between services are signed with it. Only a
    local process may do without."""
    otlp_endpoint: str | None = None
    """Base URL of an OTLP/HTTP collector; without it spans only carry ids through logs, messages and events."""
    trace_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the traces that begin here which are collected; one that began elsewhere was decided there."""
    shutdown_grace: Duration = timedelta(seconds=20)
    """Time that work in flight may take after SIGTERM."""

    @model_validator(mode="after")
    def _proofs_are_asked_for(self) -> Self:
        if self.environment != "local" and self.service_secret is None:
            raise ValueError("ECO2_SERVICE_SECRET is missing; only a local process may do without it")
        return self

    @model_validator(mode="after")
    def _secrets_are_secret(self) -> Self:
        if self.environment == "local":
            return self
        values = {name: getattr(self, name) for name in type(self).model_fields}
        found = {name: weakness(name, value) for name, value in values.items() if isinstance(value, str)}
        weak = [f"ECO2_{name.upper()} {problem}" for name, problem in found.items() if problem]
        if weak:
            raise ValueError(f"{', '.join(weak)}: generate one")
        return self


class DatabaseSettings(SettingsGroup):
    database_url: ServerUrl
    """`postgresql://user:password@host:port/name`"""
    database_pool_size: int = Field(default=5, ge=1)


class StreamsSettings(SettingsGroup):
    redis_streams_url: ServerUrl
    """Durable Redis (noeviction): `redis://…` or `redis+sentinel://host:port,host:port/master/db`."""


class CacheSettings(SettingsGroup):
    redis_cache_url: ServerUrl
    """Evicting Redis, same forms."""


class BrokerSettings(SettingsGroup):
    broker_url: ServerUrl
    """`amqp://user:password@host:port/eco2`"""


class TasksBrokerSettings(SettingsGroup):
    tasks_broker_url: ServerUrl
    """The same broker's vhost of scheduled and background work: `amqp://user:password@host:port/tasks`"""


class ChatBrokerSettings(SettingsGroup):
    chat_broker_url: ServerUrl
    """The same broker's vhost of the chat agent: `amqp://user:password@host:port/chat`"""


class TasksWorkerSettings(Settings, TasksBrokerSettings):
    """Settings of every Celery worker; all of them are in vhost `tasks`."""

    worker_concurrency: int = Field(default=2, ge=1)
    """Messages in work at once; also the prefetch of each queue."""


class StorageSettings(SettingsGroup):
    storage_endpoint: str
    """Address at which the services reach the object store."""
    storage_public_endpoint: str
    """The host that clients upload to."""
    storage_signed_endpoint: str = ""
    """The host that upload URLs are signed for, where the store is asked under another name than clients see, as S3 is
    behind a CDN; by default `storage_public_endpoint`."""
    storage_bucket: str = "eco2-images"
    """Bucket of checked photos; publicly readable, only the services write it."""
    upload_bucket: str = "eco2-uploads"
    """Of uploads, private; clients write it by presigned URLs. Nothing stays there for more than a day."""
    storage_access_key: str
    storage_secret_key: str
    storage_region: str = "ap-northeast-2"
    cdn_base_url: str
    """Public base URL of stored objects: `<cdn_base_url>/<key>`."""
    upload_secret: str = Field(min_length=32)
    """Key of the owner tag in object keys (`eco2.contracts.uploads`)."""

    @model_validator(mode="after")
    def _uploads_are_private(self) -> Self:
        if self.upload_bucket == self.storage_bucket:
            raise ValueError("ECO2_UPLOAD_BUCKET must be another bucket than ECO2_STORAGE_BUCKET, which is public")
        return self


class OpsStorageSettings(StorageSettings):
    ops_bucket: str = "eco2-ops"
    """Private bucket of reports, backups and files to import."""


class UploadSettings(SettingsGroup):
    tickets_per_minute: int = Field(default=30, ge=1)
    """Upload URLs that one user gets in any minute."""


class CorsSettings(SettingsGroup):
    cors_origins: tuple[str, ...] = ()
    """Origins of the web apps, exact."""


class CookieSettings(SettingsGroup):
    cookie_domain: str | None = None
    """Cookies of the session belong to this domain and all hosts below; without it to the host that set them."""


class AppSettings(Settings, CorsSettings):
    """Settings of every HTTP service; here, so that a worker of the same domain needs no framework."""


class KnowledgeSettings(SettingsGroup):
    data_dir: Path | None = None
    """Folder of the knowledge base; default: the one that ships with the code."""


S = TypeVar("S", bound=SettingsGroup)


def load(cls: type[S], **overrides: Any) -> S:
    """Settings from the environment. SystemExit names each variable that is missing or wrong."""
    from pydantic import ValidationError

    try:
        return cls(**overrides)
    except ValidationError as error:
        lines = [f"  {_named(e['loc'])}{e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise SystemExit("Cannot start, the settings are incomplete:\n" + "\n".join(lines)) from None


def _named(place: tuple[int | str, ...]) -> str:
    """Nothing for a rule over several settings, which names them itself."""
    return f"ECO2_{'_'.join(map(str, place)).upper()}: " if place else ""
