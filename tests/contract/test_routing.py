"""The routing manifests against the table of processes and against each other; `tests/deploy` looks at the overlays."""

import re
from typing import Any

import pytest
import yaml

from eco2.contracts.identity import (
    ACCESS_AUDIENCE,
    ACCESS_COOKIE,
    CLIENT_ADDRESS_HEADER,
    IDENTITY_HEADERS,
    IDENTITY_PROOF_HEADER,
    LONGEST_ACCESS_SECONDS,
    SCHEME_HEADER,
    TOKEN_COPY_HEADERS,
    VERIFIED_CLAIMS_HEADER,
)
from eco2.ext_authz import service as ext_authz
from eco2.local import envoy
from eco2.processes import SERVERS, SERVICES

Json = dict[str, Any]

API_PORT, GRPC_PORT, STORE_PORT = 8000, 50051, 8333
FOLDERS = [envoy.ROUTING / domain for domain in sorted(envoy.DOMAINS)]


def virtual_services() -> list[Json]:
    return [doc for doc in envoy.load() if doc.get("kind") == "VirtualService"]


def matches(entry: Json, path: str) -> bool:
    return any(_takes(how, rule, path) for match in entry["match"] for how, rule in match["uri"].items())


def _takes(how: str, rule: str, path: str) -> bool:
    if how == "regex":
        return re.fullmatch(rule, path) is not None
    return path == rule if how == "exact" else path.startswith(rule)


def test_every_file_of_a_base_is_listed_and_belongs_to_the_mesh() -> None:
    for folder in FOLDERS:
        base = folder / "base"
        kustomization = yaml.safe_load((base / "kustomization.yaml").read_text(encoding="utf-8"))
        assert kustomization["namespace"] == "istio-system"
        assert {*kustomization["resources"], "kustomization.yaml"} == {file.name for file in base.iterdir()}


def test_every_host_that_routing_names_is_a_process() -> None:
    expected = {f"{row.service}.svc.cluster.local": API_PORT for row in SERVICES if row.service}
    expected |= {f"{row.service}.svc.cluster.local": STORE_PORT for row in SERVERS if row.name == "object-store"}
    expected["ext-authz.auth.svc.cluster.local"] = GRPC_PORT
    named = envoy._destinations(envoy.load()) - {("nowhere.invalid", 80)}
    provider = envoy._provider(envoy.load())
    assert {*named, (provider["service"], provider["port"])} == set(expected.items())


def test_a_base_names_no_environment() -> None:
    files = [file for folder in FOLDERS for file in (folder / "base").iterdir()]
    for file in [*files, envoy.ROUTING / "gateway" / "istiod-values.yaml"]:
        assert not re.search(r"growbin|staging|\bprod\b|\bdev\b|localhost", file.read_text(encoding="utf-8")), file


PATHS = (
    "/api/v1/health",
    "/api/v1/authz/ping",
    "/api/v1/auth/refresh",
    "/api/v1/images/scan",
    "/api/v1/scan",
    "/api/v1/scan/categories",
    "/api/v1/scan/0123456789ab/result",
    "/api/v1/scan/0123456789ab/choice",
    "/api/v1/scan/0123456789ab/feedback",
    "/api/v1/scan/0123456789ab/events",
    "/api/v1/chat/0123456789ab/events",
    "/api/v1/stream",
    "/api/v1/character/catalog",
    "/api/v1/users/me",
    "/api/v1/users/me/preferences",
    "/api/v1/users/me/export",
    "/api/v1/users/me/scans",
    "/api/v1/users/me/characters",
    "/api/v1/users/me/points",
    "/api/v1/users/me/leaderboard",
    "/api/v1/users/me/characters/페티/ownership",
    "/eco2-images/scan/a.jpg",
    "/eco2-uploads/scan/a.jpg",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_belongs_to_one_virtual_service(path: str) -> None:
    """The mesh keeps no order between VirtualServices of one host, so what one takes no other may take."""
    owners = {
        doc["metadata"]["name"]
        for doc in virtual_services()
        for entry in doc["spec"]["http"]
        if matches(entry, path) and entry["name"] != "not-found"
    }
    assert len(owners) == 1


INTERNAL = ("/internal/users", "/api/v1/internal/users", "/api/v1/internal/characters/rewards")


@pytest.mark.parametrize("path", ["/metrics", "/health", "/docs", *INTERNAL])
def test_ops_pages_and_internal_paths_are_not_routed(path: str) -> None:
    entries = [entry for doc in virtual_services() for entry in doc["spec"]["http"]]
    assert [entry["name"] for entry in entries if matches(entry, path)] == ["not-found"]


def test_every_route_says_what_is_repeated_and_only_reads_are() -> None:
    """A route without the word gets the default of the mesh, which repeats a POST."""
    for entry in [entry for doc in virtual_services() for entry in doc["spec"]["http"] if "route" in entry]:
        assert entry.keys() >= {"timeout", "retries"}
        if entry["retries"]["attempts"]:
            assert all(match.get("method") == {"regex": "GET|HEAD"} for match in entry["match"])


def test_the_edge_and_ext_authz_mean_the_same_headers_and_claims() -> None:
    patches = [row for row in envoy._patches(envoy.load()) if row["applyTo"] == "HTTP_FILTER"]
    values = {row["patch"]["value"]["name"]: row["patch"]["value"]["typed_config"] for row in patches}
    mutations = values["eco2.identity-headers"]["mutations"]["request_mutations"]
    removed = [row["remove"] for row in mutations if "remove" in row]
    own = (*IDENTITY_HEADERS, IDENTITY_PROOF_HEADER, VERIFIED_CLAIMS_HEADER, SCHEME_HEADER, *TOKEN_COPY_HEADERS)
    assert removed == [*own]
    (address,) = (row["append"] for row in mutations if "append" in row)
    assert address["header"]["key"] == CLIENT_ADDRESS_HEADER
    assert address["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"
    script = values["eco2.tokens"]["default_source_code"]["inline_string"]
    assert f'local COOKIE, COPIES = "{ACCESS_COOKIE}=", {len(TOKEN_COPY_HEADERS)}\n' in script
    assert f'headers:add("{SCHEME_HEADER}", "bearer")' in script
    provider = values["eco2.jwt"]["providers"]["eco2"]
    assert provider["payload_in_metadata"] == ext_authz.CLAIMS_KEY
    assert provider["failed_status_in_metadata"] == ext_authz.FAILED_KEY
    assert provider["audiences"] == [ACCESS_AUDIENCE]
    assert [row["name"] for row in provider["from_headers"]] == list(TOKEN_COPY_HEADERS)
    (hidden,) = (row["patch"]["value"] for row in envoy._patches(envoy.load()) if _hides(row))
    assert hidden["request_headers_to_remove"] == [SCHEME_HEADER, *TOKEN_COPY_HEADERS]
    check = values["envoy.filters.http.ext_authz"]
    assert check["metadata_context_namespaces"] == [ext_authz.CLAIMS_NAMESPACE]
    shown = [row["exact"] for row in check["allowed_headers"]["patterns"]]
    assert shown == ["origin", "sec-fetch-site", SCHEME_HEADER]


def _hides(patch: Json) -> bool:
    return patch["applyTo"] == "VIRTUAL_HOST" and "request_headers_to_remove" in patch["patch"]["value"]


def test_the_edge_lets_no_token_outlive_its_key_or_a_day() -> None:
    (jwt,) = (row["patch"]["value"] for row in envoy._patches(envoy.load()) if _verifies(row))
    provider = jwt["typed_config"]["providers"]["eco2"]
    assert "jwt_cache_config" not in provider
    assert float(provider["remote_jwks"]["cache_duration"].removesuffix("s")) <= 60
    longest = float(provider["max_lifetime"].removesuffix("s"))
    assert LONGEST_ACCESS_SECONDS <= longest <= LONGEST_ACCESS_SECONDS + 60


def _verifies(patch: Json) -> bool:
    return bool(patch["patch"]["value"].get("name") == "eco2.jwt")
