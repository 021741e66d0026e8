"""Allowed traffic: from the world, through the load balancer, between the nodes of a cluster."""

from collections.abc import Iterator
from ipaddress import ip_network

from tests.infra.checks.registry import checker
from tests.infra.plans import Plan

INGRESS = "aws_vpc_security_group_ingress_rule"
EGRESS = "aws_vpc_security_group_egress_rule"
WORLD_PORTS = {(80, 80), (443, 443)}
SMALLEST_PREFIX = 16


def _open_api_server(plan: Plan) -> None:
    rule = plan.resources[f'{INGRESS}.flow["api_worker"]']
    rule.update(cidr_ipv4="0.0.0.0/0", referenced_security_group_id=None)


def _open_half_the_world(plan: Plan) -> None:
    rule = plan.resources[f'{INGRESS}.flow["typha_worker_control_plane"]']
    rule.update(cidr_ipv4="0.0.0.0/1", referenced_security_group_id=None)


def _open_by_ipv6(plan: Plan) -> None:
    plan.resources[f'{INGRESS}.flow["etcd"]'].update(cidr_ipv6="::/0")


def _wide_port_range(plan: Plan) -> None:
    plan.resources[f'{INGRESS}.flow["http"]'].update(from_port=0)


def _nodes_open_to_the_web(plan: Plan) -> None:
    worker = plan.resources['aws_security_group.this["worker"]']["id"]
    plan.resources[f'{INGRESS}.flow["https"]'].update(security_group_id=worker)


def _inline_rules(plan: Plan) -> None:
    rule = {"from_port": 22, "to_port": 22, "protocol": "tcp", "cidr_blocks": ["0.0.0.0/0"]}
    plan.resources['aws_security_group.this["worker"]']["ingress"] = [rule]


@checker(
    *(_open_api_server, _open_half_the_world, _open_by_ipv6, _wide_port_range, _nodes_open_to_the_web, _inline_rules)
)
def only_the_load_balancer_is_open_to_the_world(plan: Plan) -> Iterator[str]:
    balancer = plan.resources['aws_security_group.this["load_balancer"]']["id"]
    for address, rule in plan.of(INGRESS):
        if rule.get("cidr_ipv6"):
            yield f"{address} lets {rule['cidr_ipv6']} in"
        elif rule.get("cidr_ipv4") and ip_network(rule["cidr_ipv4"]).prefixlen < SMALLEST_PREFIX:
            ports = (rule["from_port"], rule["to_port"])
            if rule["security_group_id"] != balancer or ports not in WORLD_PORTS:
                yield f"{address} lets {rule['cidr_ipv4']} reach ports {ports[0]} to {ports[1]}"
    for address, group in plan.of("aws_security_group"):
        if group.get("ingress"):
            yield f"{address} has rules of its own, beside the table of flows"


def _closed_typha(plan: Plan) -> None:
    del plan.resources[f'{INGRESS}.flow["typha_worker_control_plane"]']


def _vxlan_over_tcp(plan: Plan) -> None:
    plan.resources[f'{INGRESS}.flow["vxlan_worker_worker"]'].update(ip_protocol="tcp")


def _workers_at_etcd(plan: Plan) -> None:
    worker = plan.resources['aws_security_group.this["worker"]']["id"]
    plan.resources[f'{INGRESS}.flow["etcd"]'].update(referenced_security_group_id=worker)


@checker(_closed_typha, _vxlan_over_tcp, _workers_at_etcd)
def nodes_reach_each_other_where_the_cluster_needs_it(plan: Plan) -> Iterator[str]:
    groups = {
        values["id"]: address.split('"')[1] for address, values in plan.of("aws_security_group") if '"' in address
    }
    both = {(source, target) for source in ("control_plane", "worker") for target in ("control_plane", "worker")}
    wanted = {
        **{("tcp", port): both for port in (5473, 9100, 10250)},
        ("udp", 4789): both,
        ("tcp", 6443): {("control_plane", "control_plane"), ("worker", "control_plane")},
        ("tcp", 2379): {("control_plane", "control_plane")},
        ("tcp", 30000): {("load_balancer", "worker")},
    }
    found: dict[tuple[str, int], set[tuple[str, str]]] = {}
    for _, rule in plan.of(INGRESS):
        source = groups.get(rule.get("referenced_security_group_id") or "")
        if source:
            flow = (rule["ip_protocol"], rule["from_port"])
            found.setdefault(flow, set()).add((source, groups[rule["security_group_id"]]))
    for flow in wanted.keys() | found.keys():
        for pair in wanted.get(flow, set()) ^ found.get(flow, set()):
            state = "is closed" if pair in wanted.get(flow, set()) else "is open and need not be"
            yield f"{flow[0]} {flow[1]} from {pair[0]} to {pair[1]} {state}"
