"""The routing manifests against the table of processes and against each other; `tests/deploy` looks at the overlays."""

import ast
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
from eco2.core.app import EXPOSED_HEADERS
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
    expected = {
        f"{row.service}.svc.cluster.local": API_PORT for row in SERVICES if row.service and row.kind != "worker"
    }
    expected |= {f"{row.service}.svc.cluster.local": STORE_PORT for row in SERVERS if row.name == "object-store"}
    expected["ext-authz.auth.svc.cluster.local"] = GRPC_PORT
    named = envoy._destinations(envoy.load()) - {("nowhere.invalid", 80)}
    provider = envoy._provider(envoy.load())
    assert {*named, (provider["service"], provider["port"])} == set(expected.items())


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_answers_before_the_filters_allow_the_origins_of_the_others(environment: str) -> None:
    file = envoy.ROUTING / "gateway" / environment / "kustomization.yaml"
    rows = yaml.safe_load(file.read_text(encoding="utf-8"))["patches"]
    steps = {row["target"]["name"]: yaml.safe_load(row["patch"]) for row in rows if "patch" in row}
    ((cors,), early) = (steps["edge-cors"], steps["edge-early-answers"])
    wanted = envoy._allowed_origin([row["exact"] for row in cors["value"]])
    (base,) = (doc for doc in envoy.load() if doc.get("metadata", {}).get("name") == "edge-early-answers")
    path = "/spec/configPatches/0/patch/value/typed_config/local_reply_config/mappers"
    mappers = base["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["local_reply_config"]["mappers"]
    places = [f"{path}/{n}/headers_to_add/0/header/value" for n, row in enumerate(mappers) if "headers_to_add" in row]
    assert {step["path"]: step["value"] for step in early} == dict.fromkeys(places, wanted)


def test_a_base_names_no_environment() -> None:
    files = [file for folder in FOLDERS for file in (folder / "base").iterdir()]
    for file in [*files, envoy.ROUTING / "gateway" / "istiod-values.yaml"]:
        assert not re.search(r"growbin|staging|\bprod\b|\bdev\b|localhost", file.read_text(encoding="utf-8")), file


PATHS = (
    "/api/v1/health",
    "/api/v1/authz/ping",
    "/api/v1/openapi.json",
    "/api/v1/docs",
    "/api/v1/docs/reference.js",
    "/api/v1/auth/refresh",
    "/api/v1/auth/token",
    "/api/v1/auth/guest",
    "/api/v1/auth/guest/challenge",
    "/api/v1/auth/kakao/app",
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
        assert "retries" in entry
        # A stream has none: that is the default of the mesh, which refuses 0s.
        assert ("timeout" in entry) is (entry["name"] != "events")
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


ALWAYS_SHOWN = {
    "cache-control",
    "content-language",
    "content-length",
    "content-type",
    "expires",
    "last-modified",
    "pragma",
}
"""Headers that browsers show to a page of another origin without being told (the Fetch standard)."""
NOT_FOR_SCRIPTS = {"set-cookie", "location", "vary"}
SERVED = ("auth", "character", "image", "my", "recycling", "scan", "sse_gateway", "core/app.py", "core/errors.py")


def _answered_headers(tree: ast.Module) -> set[str]:
    """Names of headers that a module sets: `headers={…}`, `headers = {…}`, `def headers`, `x.headers[…] =`."""
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(keywords=keywords):
                given = [word.value for word in keywords if word.arg == "headers"]
                found += [key for value in given if isinstance(value, ast.Dict) for key in value.keys]
            case ast.Assign(targets=[ast.Name(id="headers")], value=ast.Dict(keys=keys)):
                found += keys
            case ast.FunctionDef(name="headers", body=[*_, ast.Return(value=ast.Dict(keys=keys))]):
                found += keys
            case ast.Assign(targets=[ast.Subscript(value=ast.Attribute(attr="headers"), slice=key)]):
                found.append(key)
            case ast.Assign(targets=[ast.Attribute(attr="headers")], value=ast.Dict(keys=keys)):
                found += keys
    return {str(key.value).lower() for key in found if isinstance(key, ast.Constant)}


def test_pages_may_read_every_header_that_we_answer() -> None:
    folders = [envoy.ROUTING.parents[1] / "eco2" / name for name in SERVED]
    files = [file for folder in folders for file in ([folder] if folder.suffix else folder.rglob("*.py"))]
    answered = set[str]().union(*(_answered_headers(ast.parse(file.read_text(encoding="utf-8"))) for file in files))
    assert {"x-next-cursor", "etag", "retry-after", "allow", "content-disposition"} <= answered, "the search finds them"
    of_push = {"content-encoding", "ttl", "topic", "urgency"}
    of_others = {"authorization", "accept-encoding", "kid", *of_push}  # requests of ours, and tokens
    exposed = {name.lower() for name in EXPOSED_HEADERS}
    assert answered - ALWAYS_SHOWN - NOT_FOR_SCRIPTS - of_others <= exposed


def test_the_edge_and_the_services_expose_the_same_headers() -> None:
    (cors,) = (
        row["patch"]["value"]["typed_per_filter_config"]["eco2.cors"]
        for row in envoy._patches(envoy.load())
        if row["applyTo"] == "VIRTUAL_HOST" and "typed_per_filter_config" in row["patch"]["value"]
    )
    assert cors["expose_headers"].split(", ") == list(EXPOSED_HEADERS)
