"""Servers of the user's own, and what a process finds in its environment."""

import importlib
import json
import pkgutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eco2.local import config, emulators, probes, stack
from eco2.local.addresses import addresses
from eco2.local.config import Credentials, Layout, LocalError, LocalSettings
from eco2.local.emulators import llm as llm_emulator
from eco2.local.servers import rabbitmq
from eco2.processes import PROCESSES, SERVICES, process


@pytest.fixture
def at() -> Layout:
    return Layout(Path("/home/someone/eco2/.eco2"), 10000, 8080, Credentials(), {})


def settings(**given: Any) -> LocalSettings:
    nothing = dict.fromkeys(LocalSettings.model_fields)
    return LocalSettings.model_construct(**{**nothing, **given})


def test_no_two_stacks_share_a_credential() -> None:
    one, other = Credentials(), Credentials()
    values = [*vars(one).values(), *vars(other).values()]
    assert len(set(values)) == len(values)
    assert min(map(len, values)) >= 20
    assert len(one.upload_secret) >= 32


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "PORT_BASE", "GATEWAY_PORT", "DATABASE_URL"):
        monkeypatch.setenv(f"ECO2_{name}", "")
    assert config.home(Path("/checkout")) == Path("/checkout/.eco2")
    assert config.local_settings().database_url is None


def test_the_checkout_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECO2_HOME", str(config.CHECKOUT))
    with pytest.raises(LocalError, match="holds other things"):
        config.home()


def test_a_selection_brings_what_it_needs() -> None:
    chosen = {row.name for row in stack.selection({"gateway", "scan-api"})}
    assert {"gateway", "auth-api", "ext-authz", "scan-api", "postgres", "rabbitmq", "object-store"} <= chosen
    assert "scan-worker" not in chosen
    assert all(set(process(name).needs) <= chosen for name in chosen)
    assert stack.selection(()) == list(PROCESSES)
    with pytest.raises(LocalError, match=r"Unknown: nobody\..*scan-api"):
        stack.selection({"nobody"})


def test_without_urls_every_server_is_private(at: Layout) -> None:
    assert config.given_servers(settings(), config.private_environment(at)) == {}


def test_exported_local_environment_is_still_the_private_stack(at: Layout) -> None:
    exported = config.private_environment(at)
    again = settings(**{key.removeprefix("ECO2_").lower(): value for key, value in exported.items()})
    assert config.given_servers(again, exported) == {}


def test_a_given_database_replaces_ours(at: Layout) -> None:
    url = "postgresql://me:s3cr3t@db.example:5432/eco2"
    given = config.given_servers(settings(database_url=url), config.private_environment(at))
    assert given == {"ECO2_DATABASE_URL": url}
    own = Layout(at.home, at.port_base, at.gateway_port, at.credentials, given)
    assert config.environment(own)["ECO2_DATABASE_URL"] == url


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://me:p@db.example/eco2", [("db.example", 5432)]),
        ("redis://:p@10.0.0.1:6380/0", [("10.0.0.1", 6380)]),
        ("redis+sentinel://:p@s1:26379,s2:26380/main/0", [("s1", 26379), ("s2", 26380)]),
        ("rediss://[::1]/0", [("::1", 6379)]),
        ("amqps://mq.example/eco2", [("mq.example", 5671)]),
        ("https://s3.example", [("s3.example", 443)]),
    ],
)
def test_a_given_server_is_watched_at_every_address(url: str, found: list[tuple[str, int]]) -> None:
    assert addresses(url) == found


async def test_one_sentinel_that_answers_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert await probes.tcp(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/main/0")()


@pytest.mark.parametrize(
    "url",
    ["redis://", "redis://:p@/0", "localhost:6379", "redis://a:port/0", "redis+sentinel://a:1,/m/0", "redis://[::1"],
)
def test_what_is_no_address_is_said_and_its_password_is_not(at: Layout, url: str) -> None:
    with pytest.raises(LocalError, match="ECO2_REDIS_STREAMS_URL is no address of a server") as raised:
        config.given_servers(settings(redis_streams_url=url), config.private_environment(at))
    assert ":p@" not in str(raised.value)


def test_a_given_broker_is_managed_on_its_host(at: Layout) -> None:
    given = config.given_servers(settings(broker_url="amqp://me:s3@mq.example/eco2"), config.private_environment(at))
    assert given["ECO2_BROKER_MANAGEMENT_URL"] == "http://mq.example:15672"


def test_a_given_store_needs_its_keys(at: Layout) -> None:
    private = config.private_environment(at)
    with pytest.raises(LocalError, match="ECO2_STORAGE_ACCESS_KEY"):
        config.given_servers(settings(storage_endpoint="https://s3.example"), private)
    given = config.given_servers(
        settings(storage_endpoint="https://s3.example", storage_access_key="a", storage_secret_key="b"), private
    )
    assert given["ECO2_STORAGE_PUBLIC_ENDPOINT"] == "https://s3.example"
    assert given["ECO2_CDN_BASE_URL"] == "https://s3.example/eco2-images"


@pytest.mark.parametrize(
    "given", ['["http://localhost:4000", "https://app.example"]', "http://localhost:4000,https://app.example:443"]
)
def test_origins_that_are_given_win(monkeypatch: pytest.MonkeyPatch, at: Layout, given: str) -> None:
    monkeypatch.setenv("ECO2_CORS_ORIGINS", given)
    found = config.environment(replace(at, given=config.given_web(LocalSettings())))
    assert json.loads(found["ECO2_CORS_ORIGINS"]) == ["http://localhost:4000", "https://app.example"]


def test_a_front_end_that_is_given_is_an_origin_too(at: Layout) -> None:
    given = config.given_web(settings(frontend_url="https://app.example/", redirect_urls=("https://api.example",)))
    found = config.environment(replace(at, given=given))
    assert found["ECO2_FRONTEND_URL"] == "https://app.example"
    assert json.loads(found["ECO2_CORS_ORIGINS"]) == ["https://app.example", *config.CORS_ORIGINS]
    assert json.loads(found["ECO2_REDIRECT_URLS"]) == ["https://api.example"]


def test_origins_of_the_command_line_are_added(at: Layout) -> None:
    more = config.with_origins(at, ["http://192.168.0.7:5173", config.CORS_ORIGINS[0]])
    allowed = json.loads(config.environment(more)["ECO2_CORS_ORIGINS"])
    assert allowed == [*config.CORS_ORIGINS, "http://192.168.0.7:5173"]
    assert config.with_origins(at, []) is at


@pytest.mark.parametrize(
    "url",
    ["", "*", "null", "localhost:3000", "http://", "http://a/b", "http://a?b", "http://u@a", "http://a:x", "ftp://a"],
)
def test_what_is_no_origin_is_said(url: str) -> None:
    with pytest.raises(LocalError, match=r"--origin: .* is no origin"):
        config.origin(url, "--origin")


def test_clients_upload_and_download_through_the_gateway(at: Layout) -> None:
    found = config.environment(at)
    assert found["ECO2_STORAGE_PUBLIC_ENDPOINT"] == "http://localhost:8080"
    assert found["ECO2_CDN_BASE_URL"] == "http://localhost:8080/eco2-images"
    assert found["ECO2_ISSUER"] == "http://localhost:8080/api/v1/auth"
    assert "http://localhost:5173" in json.loads(found["ECO2_CORS_ORIGINS"])


def test_each_process_gets_its_ports(at: Layout) -> None:
    assert config.process_environment(at, process("character-worker")) == {"ECO2_PORT": "10042"}
    assert config.process_environment(at, process("scan-worker")) == {"ECO2_PORT": "10041", "ECO2_GRPC_PORT": "10054"}
    assert config.process_environment(at, process("ext-authz")) == {"ECO2_PORT": "10037", "ECO2_GRPC_PORT": "10036"}


def test_services_find_each_other_by_the_names_of_their_processes(at: Layout) -> None:
    found = config.environment(at)
    port = config.process_environment(at, process("my-api"))["ECO2_GRPC_PORT"]
    assert found["ECO2_GRPC_MY_API"] == f"127.0.0.1:{port}"
    assert "ECO2_GRPC_EXT_AUTHZ" not in found  # only the edge asks it


def test_no_erlang_process_starts_a_port_mapper(at: Layout) -> None:
    found = rabbitmq._erlang_environment(at)
    assert found["ERL_EPMD_PORT"] == str(at.port(config.EPMD))
    assert found["ERL_EPMD_ADDRESS"] == "127.0.0.1"
    assert "-start_epmd false" in found["ERL_FLAGS"]


def test_routes_reach_ext_authz_by_grpc(at: Layout) -> None:
    ports = config.route_ports(at)
    assert ports["ext-authz.auth"] == 10036
    assert ports["scan-api.scan"] == 10033


def test_no_two_listeners_of_a_stack_share_a_port() -> None:
    """Offsets of side doors are the numbers among the constants of `config`, those of emulators in their modules."""
    numbers = {name: value for name, value in vars(config).items() if name.isupper() and isinstance(value, int)}
    side = [value for name, value in numbers.items() if name != "SPAN" and not name.startswith("DEFAULT_")]
    names = [module.name for module in pkgutil.iter_modules(emulators.__path__)]
    modules = [importlib.import_module(f"{emulators.__name__}.{name}") for name in names]
    side += [module.PORT_OFFSET for module in modules if hasattr(module, "PORT_OFFSET")]
    assert {config.GATEWAY_ADMIN, config.OAUTH_EMULATOR, llm_emulator.PORT_OFFSET} <= set(side)
    grpc = [row.grpc_port for row in SERVICES if row.grpc_port is not None]
    offsets = [*side, *grpc, *(row.port for row in PROCESSES)]
    assert len(set(offsets)) == len(offsets)
    assert max(offsets) < config.SPAN
