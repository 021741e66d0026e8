"""Configuration of the local edge from the routing manifests, without starting it."""

from typing import Any

import pytest
import yaml

from eco2.local import envoy

PORTS = {"auth-api.auth": 12001, "scan-api.scan": 12002, "sse-gateway.sse": 12003, "ext-authz.auth": [12004, 12005]}


def rendered(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "ports": PORTS,
        "gateway_port": 12000,
        "admin_port": 12006,
        "admin_socket": "/tmp/admin.sock",
        "object_store_port": 12007,
        "bucket": "eco2-images",
        "cors_origins": ["http://localhost:5173"],
        "issuer": "http://127.0.0.1/api/v1/auth",
        **changes,
    }
    loaded: dict[str, Any] = yaml.safe_load(envoy.render(**arguments))
    return loaded


def manager(config: dict[str, Any]) -> dict[str, Any]:
    listener = config["static_resources"]["listeners"][0]
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def routes(config: dict[str, Any]) -> list[dict[str, Any]]:
    host, _ = manager(config)["route_config"]["virtual_hosts"]
    found: list[dict[str, Any]] = host["routes"]
    return found


def cluster(config: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (row for row in config["static_resources"]["clusters"] if name in row["name"])
    return dict(found)


def local_ports(config: dict[str, Any], name: str) -> list[int]:
    (locality,) = cluster(config, name)["load_assignment"]["endpoints"]
    return [row["endpoint"]["address"]["socket_address"]["port_value"] for row in locality["lb_endpoints"]]


def typed(config: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (row["typed_config"] for row in manager(config)["http_filters"] if row["name"] == name)
    return dict(found)


def test_the_filters_stand_in_the_order_that_security_needs() -> None:
    assert [row["name"] for row in manager(rendered())["http_filters"]] == [
        "eco2.cors",
        "eco2.object-store",
        "eco2.identity-headers",
        "eco2.buffer",
        "eco2.tokens",
        "eco2.jwt",
        "envoy.filters.http.rbac",
        "envoy.filters.http.ext_authz",
        "envoy.filters.http.router",
    ]


def test_only_the_loopback_is_listened_on() -> None:
    config = rendered()
    places = [listener["address"]["socket_address"] for listener in config["static_resources"]["listeners"]]
    assert places == [{"address": "127.0.0.1", "port_value": port} for port in (12000, 12006)]
    assert config["admin"]["address"] == {"pipe": {"path": "/tmp/admin.sock", "mode": 0o600}}


def test_services_get_their_local_ports_and_a_missing_one_no_endpoint() -> None:
    config = rendered()
    assert local_ports(config, "scan-api.scan") == [12002]
    assert local_ports(config, "ext-authz.auth") == [12004, 12005]
    assert local_ports(config, "object-store.storage") == [12007]
    assert local_ports(config, "character-api.character") == []


def test_issuer_and_origins_are_the_ones_given() -> None:
    config = rendered(issuer="mine", cors_origins=["https://a.example", "https://b.example"])
    assert typed(config, "eco2.jwt")["providers"]["eco2"]["issuer"] == "mine"
    host, _ = manager(config)["route_config"]["virtual_hosts"]
    cors = host["typed_per_filter_config"]["eco2.cors"]
    assert cors["allow_origin_string_match"] == [{"exact": "https://a.example"}, {"exact": "https://b.example"}]


def test_without_origins_no_web_app_is_allowed() -> None:
    host, _ = manager(rendered(cors_origins=[]))["route_config"]["virtual_hosts"]
    assert host["typed_per_filter_config"]["eco2.cors"]["allow_origin_string_match"] == []


def test_a_host_that_is_not_ours_has_no_route_but_the_one_that_leads_nowhere() -> None:
    ours, elsewhere = manager(rendered(hosts=["api.example"]))["route_config"]["virtual_hosts"]
    names = ("127.0.0.1", "localhost", "[::1]", "api.example")
    assert ours["domains"] == [name for host in names for name in (host, f"{host}:*")]
    assert elsewhere["domains"] == ["*"]
    assert [route["name"] for route in elsewhere["routes"]] == ["not-found"]
    assert elsewhere["typed_per_filter_config"] == ours["typed_per_filter_config"]


def test_another_bucket_moves_its_routes_and_its_place_in_the_policy() -> None:
    text = yaml.safe_dump(rendered(bucket="photos", upload_bucket="arrived"))
    assert "/photos/" in text
    assert "/arrived/" in text
    assert "/eco2-images/" not in text
    assert "/eco2-uploads/" not in text


def test_the_check_fails_closed_with_503_within_2_seconds() -> None:
    check = typed(rendered(), "envoy.filters.http.ext_authz")
    assert check["failure_mode_allow"] is False
    assert check["status_on_error"] == {"code": 503}
    assert check["grpc_service"]["timeout"] == "2s"
    assert "with_request_body" not in check


def test_event_streams_are_not_cut() -> None:
    config = rendered()
    streams = [row["route"] for row in routes(config) if row["name"] == "events"]
    assert [row["timeout"] for row in streams] == ["0s", "0s"]
    assert not any("retry_policy" in row for row in streams)
    assert int(manager(config)["stream_idle_timeout"].removesuffix("s")) >= 330


def test_only_reads_are_repeated() -> None:
    repeated = [row for row in routes(rendered()) if "retry_policy" in row.get("route", {})]
    assert repeated
    for row in repeated:
        methods = [header for header in row["match"]["headers"] if header["name"] == ":method"]
        assert methods == [{"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}]
        assert row["route"]["retry_policy"]["retry_on"] == "connect-failure,reset,retriable-status-codes"
        assert row["route"]["retry_policy"]["retriable_status_codes"] == [503]


def test_the_catch_all_comes_last() -> None:
    assert [row["name"] for row in routes(rendered()) if row["match"].get("prefix") == "/"] == ["not-found"]
    assert routes(rendered())[-1]["name"] == "not-found"


def test_idle_connections_end_before_the_service_ends_them() -> None:
    options = cluster(rendered(), "scan-api.scan")["typed_extension_protocol_options"]
    (protocol,) = options.values()
    assert protocol["common_http_protocol_options"]["idle_timeout"] == "4s"


@pytest.mark.parametrize("pattern", ["*/docs", "/a/*/b", "/a/{*}", "relative", "*"])
def test_a_path_pattern_that_would_mean_something_else_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="path pattern"):
        envoy._path_rule(pattern)


def test_a_policy_that_says_more_than_its_list_is_refused() -> None:
    rule = {"to": [{"operation": {"notPaths": ["/a"], "notMethods": ["GET"]}}]}
    with pytest.raises(ValueError, match="notPaths"):
        envoy._marking_rules({"spec": {"rules": [rule]}})
    with pytest.raises(ValueError, match="notPaths"):
        envoy._marking_rules({"spec": {"rules": [{**rule, "when": []}]}})


def test_a_match_or_patch_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="queryParams"):
        envoy._match({"uri": {"exact": "/"}, "queryParams": {}})
    patch = {"applyTo": "CLUSTER", "patch": {"operation": "MERGE", "value": {}}}
    with pytest.raises(ValueError, match="CLUSTER"):
        envoy._apply(patch, {}, {})


def test_merging_works_like_protocol_buffers() -> None:
    target = {"a": {"b": 1, "c": [1]}, "d": 1}
    envoy._merge(target, {"a": {"c": [2], "e": 3}, "d": 2})
    assert target == {"a": {"b": 1, "c": [1, 2], "e": 3}, "d": 2}
