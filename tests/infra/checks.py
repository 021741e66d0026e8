"""Checkers of what Terraform makes: one function each, that yields a sentence for every fault it finds.

`spoil` puts one fault into a copy of a plan; `test_terraform.py` demands that the checker finds nothing in the plans as
they are and something after each of its spoils.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_network
from typing import Any

import yaml

from tests.infra.plans import CHECKOUT, Plan, Values

Find = Callable[[Plan], Iterable[str]]
Spoil = Callable[[Plan], None]


@dataclass(frozen=True)
class Checker:
    name: str
    find: Find
    spoils: tuple[Spoil, ...]


CHECKERS: dict[str, Checker] = {}


def checker(*spoils: Spoil) -> Callable[[Find], Find]:
    if not spoils:
        raise TypeError("a checker needs a broken fixture")

    def register(find: Find) -> Find:
        CHECKERS[find.__name__] = Checker(find.__name__, find, spoils)
        return find

    return register


def _first(plan: Plan, kind: str) -> Values:
    return next(values for _, values in plan.of(kind))


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


def _plain_disk(plan: Plan) -> None:
    _first(plan, "aws_instance")["root_block_device"][0]["encrypted"] = False


def _old_disk(plan: Plan) -> None:
    _first(plan, "aws_instance")["root_block_device"][0]["volume_type"] = "gp2"


def _further_disk(plan: Plan) -> None:
    _first(plan, "aws_instance")["ebs_block_device"] = [{"device_name": "/dev/sdf", "volume_type": "gp3"}]


@checker(_plain_disk, _old_disk, _further_disk)
def every_disk_is_encrypted_gp3(plan: Plan) -> Iterator[str]:
    for address, node in plan.of("aws_instance"):
        disks = [*node["root_block_device"], *(node.get("ebs_block_device") or [])]
        if not disks:
            yield f"{address} says nothing of its disk"
        for disk in disks:
            if not disk.get("encrypted"):
                yield f"{address} has a disk that is not encrypted"
            if disk.get("volume_type") != "gp3":
                yield f"{address} has a disk of type {disk.get('volume_type')}"


def _imds_v1(plan: Plan) -> None:
    _first(plan, "aws_instance")["metadata_options"][0]["http_tokens"] = "optional"


def _credentials_for_pods(plan: Plan) -> None:
    _first(plan, "aws_instance")["metadata_options"][0]["http_put_response_hop_limit"] = 2


@checker(_imds_v1, _credentials_for_pods)
def metadata_needs_a_token_and_stays_on_the_node(plan: Plan) -> Iterator[str]:
    for address, node in plan.of("aws_instance"):
        options = (node["metadata_options"] or [{}])[0]
        if options.get("http_tokens") != "required":
            yield f"{address} answers requests for metadata without a token"
        if options.get("http_put_response_hop_limit") != 1:
            yield f"{address} gives Pods the credentials of the node"


def _another_label(plan: Plan) -> None:
    name = next(iter(plan.inventory["hosts"]))
    plan.change_inventory(f"hosts/{name}/node_labels", {"role": "storage"})


def _taint_gone(plan: Plan) -> None:
    name = next(name for name, host in plan.inventory["hosts"].items() if host["node_taints"])
    plan.change_inventory(f"hosts/{name}/node_taints", [])


def _node_missing(plan: Plan) -> None:
    hosts = plan.inventory["hosts"]
    plan.change_inventory("hosts", dict(list(hosts.items())[1:]))


def _small_node(plan: Plan) -> None:
    _first(plan, "aws_instance")["instance_type"] = "t3.nano"


def _small_disk(plan: Plan) -> None:
    _first(plan, "aws_instance")["root_block_device"][0]["volume_size"] = 8


def _wrong_group(plan: Plan) -> None:
    plan.change_inventory("children/workers/hosts", {})


def _on_demand_spot(plan: Plan) -> None:
    spot = any(pool.get("spot") for pool in plan.layouts["pools"].values())
    assert spot
    for _, node in plan.of("aws_instance"):
        node["instance_market_options"] = [{"market_type": "spot"}]


@checker(_another_label, _taint_gone, _node_missing, _small_node, _small_disk, _wrong_group, _on_demand_spot)
def nodes_are_those_of_the_layout(plan: Plan) -> Iterator[str]:
    """`make test-deploy` compares the same file with every selector and toleration of the manifests."""
    wanted = expected_nodes(plan)
    inventory = plan.inventory
    if inventory["hosts"].keys() != wanted.keys():
        yield f"the inventory has {sorted(inventory['hosts'])}, the layout {sorted(wanted)}"
        return
    for name, row in wanted.items():
        host = inventory["hosts"][name]
        node = plan.resources[f'aws_instance.node["{name}"]']
        pool = plan.layouts["pools"][row["pool"]]
        for what, there, asked in (
            ("labels", host["node_labels"], pool["labels"]),
            ("taints", host["node_taints"], pool.get("taints", [])),
            ("pool", host["node_pool"], row["pool"]),
            ("type", node["instance_type"], row["type"]),
            ("type for Ansible", host["instance_type"], row["type"]),
            ("disk", node["root_block_device"][0]["volume_size"], row["disk"]),
            ("spot", bool(node["instance_market_options"]), pool.get("spot", False)),
        ):
            if there != asked:
                yield f"{name}: {what} {there}, in the layout {asked}"
    masters = {name for name, row in wanted.items() if row["pool"] == "control-plane"}
    groups = {"masters": masters, "workers": wanted.keys() - masters}
    for name, row in wanted.items():
        groups.setdefault(f"pool_{row['pool'].replace('-', '_')}", set()).add(name)
    found = {group: set(content["hosts"]) for group, content in inventory["children"].items()}
    for group in groups.keys() | found.keys():
        if groups.get(group) != found.get(group):
            yield f"group {group}: {found.get(group)}, by the layout {groups.get(group)}"


def expected_nodes(plan: Plan) -> dict[str, Values]:
    """Rows of the layout of a plan, by the names of the nodes."""
    chosen = plan.layouts["environments"][plan.environment]
    layout = plan.inventory["vars"]["eco2_layout"]
    types = chosen.get("types", {}) if layout == chosen["layout"] else {}
    found = {}
    for row in plan.layouts["layouts"][layout]:
        names = [f"{row['name']}-{number + 1}" for number in range(row["count"])] if "count" in row else [row["name"]]
        found.update({name: {**row, "type": types.get(row["pool"], row["type"])} for name in names})
    return found


def _one_zone(plan: Plan) -> None:
    for _, subnet in plan.of("aws_subnet"):
        subnet["availability_zone"] = "ap-northeast-2a"


def _all_nodes_in_one_subnet(plan: Plan) -> None:
    first = _first(plan, "aws_instance")["subnet_id"]
    for _, node in plan.of("aws_instance"):
        node["subnet_id"] = first


@checker(_one_zone, _all_nodes_in_one_subnet)
def pools_are_spread_over_three_zones(plan: Plan) -> Iterator[str]:
    subnets = {values["id"]: values["availability_zone"] for _, values in plan.of("aws_subnet")}
    if len(set(subnets.values())) != 3:
        yield f"subnets are in {sorted(set(subnets.values()))}"
    pools: dict[str, list[str]] = {}
    for _, node in plan.of("aws_instance"):
        pools.setdefault(node["tags"]["Pool"], []).append(subnets[node["subnet_id"]])
    for pool, zones in pools.items():
        if len(set(zones)) < min(3, len(zones)):
            yield f"{len(zones)} nodes of pool {pool} are in {sorted(set(zones))}"


def _uploads_kept(plan: Plan) -> None:
    rules = plan.resources['aws_s3_bucket_lifecycle_configuration.this["uploads"]']["rule"]
    rules[:] = [rule for rule in rules if rule["id"] != "old"]


def _images_with_versions(plan: Plan) -> None:
    plan.resources['aws_s3_bucket_versioning.this["images"]'] = {"bucket": "images"}


def _backups_without_versions(plan: Plan) -> None:
    del plan.resources['aws_s3_bucket_versioning.this["ops"]']


def _public_uploads(plan: Plan) -> None:
    plan.resources['aws_s3_bucket_public_access_block.this["uploads"]']["restrict_public_buckets"] = False


def _public_acl(plan: Plan) -> None:
    plan.resources['aws_s3_bucket_public_access_block.this["images"]']["block_public_acls"] = False


def _plain_bucket(plan: Plan) -> None:
    del plan.resources['aws_s3_bucket_server_side_encryption_configuration.this["ops"]']


def _data_dies_with_the_cluster(plan: Plan) -> None:
    plan.resources['aws_s3_bucket.this["ops"]']["force_destroy"] = True


@checker(
    *(_uploads_kept, _images_with_versions, _backups_without_versions, _public_uploads, _public_acl, _plain_bucket),
    _data_dies_with_the_cluster,
)
def buckets_keep_what_they_should(plan: Plan) -> Iterator[str]:
    direct = plan.outputs["storage"]["ECO2_STORAGE_PUBLIC_ENDPOINT"].startswith("https://s3.")
    public = {"oidc", "images"} if direct else {"oidc"}
    for name in ("uploads", "images", "ops", "ssm", "oidc"):
        block = plan.resources.get(f'aws_s3_bucket_public_access_block.this["{name}"]', {})
        if not (block.get("block_public_acls") and block.get("ignore_public_acls")):
            yield f"{name} takes access lists"
        if (name not in public) != bool(block.get("block_public_policy") and block.get("restrict_public_buckets")):
            yield f"{name} {'can be public' if name not in public else 'cannot serve what is public'}"
        if f'aws_s3_bucket_server_side_encryption_configuration.this["{name}"]' not in plan.resources:
            yield f"{name} is not encrypted"
        versioned = f'aws_s3_bucket_versioning.this["{name}"]' in plan.resources
        if versioned != (name in ("ops", "oidc")):
            yield f"{name} {'keeps' if versioned else 'lacks'} versions"
        rules = plan.resources[f'aws_s3_bucket_lifecycle_configuration.this["{name}"]']["rule"]
        days = [rule["expiration"][0]["days"] for rule in rules if rule["id"] == "old"]
        if days != ([1] if name in ("uploads", "ssm") else []):
            yield f"{name} keeps objects for {days or 'ever'}"
        may_go = name == "ssm" or plan.is_given("delete_data")
        if plan.resources[f'aws_s3_bucket.this["{name}"]']["force_destroy"] != may_go:
            yield f"{name} would be destroyed with what is in it, or only when empty where that does not matter"


def _zone_goes_with_its_names(plan: Plan) -> None:
    plan.resources["aws_route53_zone.public[0]"]["force_destroy"] = True


@checker(_zone_goes_with_its_names)
def the_zone_goes_with_its_records_when_data_does(plan: Plan) -> Iterator[str]:
    for address, zone in plan.of("aws_route53_zone"):
        if address.startswith("aws_route53_zone.public") and zone["force_destroy"] != plan.is_given("delete_data"):
            yield f"{address} {'would be' if zone['force_destroy'] else 'cannot be'} destroyed with its records"


def _another_bucket(plan: Plan) -> None:
    plan.outputs["storage"]["ECO2_UPLOAD_BUCKET"] = "uploads"


def _another_host(plan: Plan) -> None:
    plan.outputs["storage"]["ECO2_STORAGE_PUBLIC_ENDPOINT"] = "https://cdn.example.org"


@checker(_another_bucket, _another_host)
def processes_use_the_buckets_that_are_made(plan: Plan) -> Iterator[str]:
    folder = CHECKOUT / "workloads/domains/components"
    settings: dict[str, str] = {}
    for part in ("settings", f"environments/{plan.environment}"):
        document = yaml.safe_load((folder / part / "kustomization.yaml").read_text())
        for generator in document.get("configMapGenerator", []):
            settings.update(line.split("=", 1) for line in generator.get("literals", []))
    # Without CloudFront the two addresses are changed by hand (docs/guides/operator.md).
    addresses = ("ECO2_STORAGE_PUBLIC_ENDPOINT", "ECO2_CDN_BASE_URL")
    cdn = any(True for _ in plan.of("aws_cloudfront_distribution"))
    for name, value in plan.outputs["storage"].items():
        if not cdn and name in addresses:
            if not value.startswith("https://s3."):
                yield f"{name} is {value} without a CDN"
        elif settings.get(name) != value:
            yield f"{name} is {value}, in the manifests {settings.get(name)}"


def _long_memory(plan: Plan) -> None:
    for _, policy in plan.of("aws_cloudfront_cache_policy"):
        policy["max_ttl"] = 86400


def _queries_reach_the_bucket(plan: Plan) -> None:
    for _, policy in plan.of("aws_cloudfront_cache_policy"):
        parameters = policy["parameters_in_cache_key_and_forwarded_to_origin"][0]
        parameters["query_strings_config"][0]["query_string_behavior"] = "all"


def _read_only_uploads(plan: Plan) -> None:
    for _, cdn in plan.of("aws_cloudfront_distribution"):
        cdn["ordered_cache_behavior"][0]["allowed_methods"] = ["GET", "HEAD"]


def _writable_images(plan: Plan) -> None:
    for _, cdn in plan.of("aws_cloudfront_distribution"):
        cdn["default_cache_behavior"][0]["allowed_methods"] = ["GET", "HEAD", "OPTIONS", "PUT"]


def _plain_http(plan: Plan) -> None:
    for _, cdn in plan.of("aws_cloudfront_distribution"):
        cdn["ordered_cache_behavior"][0]["viewer_protocol_policy"] = "allow-all"


def _no_cdn(plan: Plan) -> None:
    plan.resources = {key: row for key, row in plan.resources.items() if "aws_cloudfront_distribution" not in key}


@checker(*(_long_memory, _queries_reach_the_bucket, _read_only_uploads, _writable_images, _plain_http, _no_cdn))
def the_cdn_takes_uploads_and_forgets_photos(plan: Plan) -> Iterator[str]:
    wanted = plan.outputs["storage"]["ECO2_CDN_BASE_URL"].startswith("https://images.")
    found = list(plan.of("aws_cloudfront_distribution"))
    if len(found) != int(wanted):
        yield f"{len(found)} distributions, and photos at {plan.outputs['storage']['ECO2_CDN_BASE_URL']}"
    for address, cdn in found:
        host = plan.outputs["storage"]["ECO2_CDN_BASE_URL"].split("/")[2]
        if cdn["aliases"] != [host]:
            yield f"{address} answers for {cdn['aliases']}, and URLs name {host}"
        uploads, images = cdn["ordered_cache_behavior"][0], cdn["default_cache_behavior"][0]
        if uploads["path_pattern"] != f"/{plan.outputs['storage']['ECO2_UPLOAD_BUCKET']}/*":
            yield f"{address} takes uploads at {uploads['path_pattern']}"
        if "PUT" not in uploads["allowed_methods"]:
            yield f"{address} refuses uploads"
        if {"PUT", "POST", "DELETE", "PATCH"} & set(images["allowed_methods"]):
            yield f"{address} lets clients write photos"
        if "allow-all" in (uploads["viewer_protocol_policy"], images["viewer_protocol_policy"]):
            yield f"{address} answers without TLS"
    for address, policy in plan.of("aws_cloudfront_cache_policy"):
        if policy["max_ttl"] > 3600:
            yield f"{address} keeps deleted photos for {policy['max_ttl']} s"
        parameters = policy["parameters_in_cache_key_and_forwarded_to_origin"][0]
        if parameters["query_strings_config"][0]["query_string_behavior"] != "none":
            yield f"{address} hands queries to the bucket"


def _role_of_no_account(plan: Plan) -> None:
    del plan.resources['aws_iam_role.pod["external-dns"]']


def _account_of_no_role(plan: Plan) -> None:
    role = plan.resources['aws_iam_role.pod["external-dns"]']
    plan.resources['aws_iam_role.pod["celery"]'] = {**role, "name": f"eco2-{plan.environment}-celery"}


def _role_for_any_account(plan: Plan) -> None:
    role = plan.resources['aws_iam_role.pod["external-secrets"]']
    role["assume_role_policy"] = role["assume_role_policy"].replace("external-secrets", "*")


@checker(_role_of_no_account, _account_of_no_role, _role_for_any_account)
def pods_have_the_roles_that_their_accounts_name(plan: Plan) -> Iterator[str]:
    accounts = yaml.safe_load_all((CHECKOUT / "workloads/rbac-storage/base/service-accounts.yaml").read_text())
    wanted = {
        item["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
        .split("role/")[1]
        .replace("ENVIRONMENT", plan.environment): "{namespace}:{name}".format(**item["metadata"])
        for item in accounts
    }
    # Its account comes with its chart.
    if plan.is_given("atlantis"):
        wanted[f"eco2-{plan.environment}-atlantis"] = "atlantis:atlantis"
    found = {
        role["name"]: role["assume_role_policy"]
        for address, role in plan.of("aws_iam_role")
        if address.startswith("aws_iam_role.pod")
    }
    for name in wanted.keys() ^ found.keys():
        yield f"role {name} is {'not made' if name in wanted else 'of no service account'}"
    for name in wanted.keys() & found.keys():
        asked = json.loads(found[name])["Statement"][0]["Condition"]["StringEquals"]
        subjects = [value for key, value in asked.items() if key.endswith(":sub")]
        if subjects != [f"system:serviceaccount:{wanted[name]}"]:
            yield f"role {name} trusts {subjects}, and is meant for {wanted[name]}"


def _everything_allowed(plan: Plan) -> None:
    statement = {"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}
    plan.resources["aws_iam_role_policy.control_plane"]["policy"] = json.dumps({"Statement": [statement]})


def _secrets_of_all(plan: Plan) -> None:
    role = plan.resources['aws_iam_role_policy.pod["external-secrets"]']
    role["policy"] = role["policy"].replace(f"eco2/{plan.environment}/*", "*")


def _state_of_all(plan: Plan) -> None:
    statement = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::eco2-terraform-state-1/*"]}
    plan.resources['aws_iam_role_policy.pod["atlantis"]'] = {"policy": json.dumps({"Statement": [statement]})}


READING = ("Describe", "List", "Get")


@checker(_everything_allowed, _secrets_of_all, _state_of_all)
def roles_change_only_what_is_of_their_cluster(plan: Plan) -> Iterator[str]:
    """A statement about everything may look, though not at secrets; others name the environment or ask for its tag."""
    marks = (
        *(f"eco2-{plan.environment}", f"eco2/{plan.environment}/", f"/env:/{plan.environment}/"),
        plan.outputs["storage"]["ECO2_OPS_BUCKET"],
    )
    for kind in ("aws_iam_role_policy", "aws_iam_user_policy"):
        for address, policy in plan.of(kind):
            for statement in json.loads(policy["policy"])["Statement"]:
                known = json.dumps([statement.get("Resource"), statement.get("Condition")])
                own = any(mark in known for mark in marks) or "hostedzone/" in known
                looks = all(action.split(":")[-1].startswith(READING) for action in statement["Action"])
                tags = "CreateAction" in known
                if not (own or tags or (looks and "GetSecretValue" not in str(statement["Action"]))):
                    yield f"{address}: {statement['Action']} on {statement['Resource']}"


def _worker_reads_all(plan: Plan) -> None:
    del plan.resources['aws_iam_role_policy.parameters["worker"]']


def _control_plane_reads_all(plan: Plan) -> None:
    del plan.resources['aws_iam_role_policy.parameters["control_plane"]']


def _key_of_no_use(plan: Plan) -> None:
    own = plan.resources['aws_iam_role_policy.parameters["control_plane"]']
    own["policy"] = own["policy"].replace("etcd-encryption-key", "another")


@checker(_worker_reads_all, _control_plane_reads_all, _key_of_no_use)
def nodes_read_no_parameters_of_others(plan: Plan) -> Iterator[str]:
    """Session Manager's policy reads all parameters, so that it takes a Deny."""
    parameters = [f"/eco2/{name}/etcd-encryption-key" for name in ("dev", "staging", "prod")]
    for group in ("worker", "control_plane"):
        denied = _denied_parameters(plan, group)
        for name in parameters:
            own = group == "control_plane" and name.startswith(f"/eco2/{plan.environment}/")
            if own == denied(f"arn:aws:ssm:ap-northeast-2:111122223333:parameter{name}"):
                yield f"{group} {'cannot' if own else 'can'} read {name}"


def _denied_parameters(plan: Plan, group: str) -> Callable[[str], bool]:
    policy = plan.resources.get(f'aws_iam_role_policy.parameters["{group}"]', {"policy": '{"Statement": []}'})
    rows = [
        row
        for row in json.loads(policy["policy"])["Statement"]
        if row["Effect"] == "Deny" and row["Action"] == ["ssm:GetParameter*"]
    ]

    def denied(arn: str) -> bool:
        for row in rows:
            given = row.get("Resource") or row["NotResource"]
            if any(fnmatchcase(arn, pattern) for pattern in given) == ("Resource" in row):
                return True
        return False

    return denied


def _secret_missing(plan: Plan) -> None:
    del plan.resources['aws_secretsmanager_secret.this["broker"]']


def _secret_of_another_environment(plan: Plan) -> None:
    plan.resources['aws_secretsmanager_secret.this["slack"]']["name"] = "eco2/test/slack"


def _value_in_the_state(plan: Plan) -> None:
    _first(plan, "aws_ssm_parameter")["value"] = "hunter2"


def _plain_parameter(plan: Plan) -> None:
    _first(plan, "aws_ssm_parameter")["type"] = "String"


def _secret_version(plan: Plan) -> None:
    plan.resources["aws_secretsmanager_secret_version.this"] = {"secret_string": "hunter2"}


@checker(
    *(_secret_missing, _secret_of_another_environment, _value_in_the_state, _plain_parameter, _secret_version),
)
def secrets_are_made_without_values(plan: Plan) -> Iterator[str]:
    wanted = {f"eco2/{plan.environment}/{name}" for name in secret_names()}
    found = {values["name"] for _, values in plan.of("aws_secretsmanager_secret")}
    for name in wanted ^ found:
        yield f"secret {name} is {'not made' if name in wanted else 'read by nobody'}"
    for kind in ("aws_secretsmanager_secret_version", "aws_iam_access_key"):
        for address, _ in plan.of(kind):
            yield f"{address} stands in the state with its value"
    for address, parameter in plan.of("aws_ssm_parameter"):
        if parameter["type"] != "SecureString":
            yield f"{address} is not encrypted"
        if parameter.get("value"):
            yield f"{address} stands in the state with its value"


def secret_names() -> set[str]:
    """Secrets that the ExternalSecrets of the platform read."""
    found: set[str] = set()
    for path in (CHECKOUT / "workloads/secrets/external-secrets/base").glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            _collect(document, found)
    return found


def _collect(value: Any, found: set[str]) -> None:
    if isinstance(value, dict):
        for name in ("extract", "remoteRef"):
            if isinstance(value.get(name), dict) and "key" in value[name]:
                found.add(value[name]["key"])
        for inner in value.values():
            _collect(inner, found)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, found)


def _unknown_variable(plan: Plan) -> None:
    plan.change_inventory("vars/state_bucket", "x")


def _ansible_variable_gone(plan: Plan) -> None:
    inventory = plan.inventory
    inventory["vars"].pop("pod_cidr")
    plan.change_inventory("vars", inventory["vars"])


def _another_kubernetes(plan: Plan) -> None:
    plan.change_inventory("vars/kubernetes_minor", "1.28")


def _provider_id_of_another(plan: Plan) -> None:
    plan.change_inventory("hosts/k8s-master/provider_id", "aws:///ap-northeast-2a/i-other")


@checker(_unknown_variable, _ansible_variable_gone, _another_kubernetes, _provider_id_of_another)
def the_inventory_is_the_one_that_is_described(plan: Plan) -> Iterator[str]:
    sample = yaml.safe_load((CHECKOUT / "ansible/inventory/sample.yml").read_text())["all"]
    text = (CHECKOUT / "ansible/INVENTORY.md").read_text()
    inventory = plan.inventory
    for name in sample["vars"].keys() ^ inventory["vars"].keys():
        yield f"variable {name} is {'not rendered' if name in sample['vars'] else 'not in the sample'}"
    for name in inventory["vars"]:
        if f"`{name}`" not in text:
            yield f"INVENTORY.md does not explain {name}"
    wanted = next(iter(sample["hosts"].values())).keys()
    for host, values in inventory["hosts"].items():
        if values.keys() != wanted:
            yield f"{host} has other variables than the sample: {sorted(values.keys() ^ wanted)}"
        elif values["provider_id"] != f"aws:///{values['zone']}/{values['ansible_host']}":
            yield f"{host} has the provider id {values['provider_id']}"
    if inventory["vars"]["kubernetes_minor"] != plan.layouts["kubernetes"]:
        yield f"Kubernetes {inventory['vars']['kubernetes_minor']}"


def _reachable_nodes(plan: Plan) -> None:
    for _, node in plan.of("aws_instance"):
        node["associate_public_ip_address"] = True
    plan.resources["aws_nat_gateway.this[0]"] = {}


def _unprotected(plan: Plan) -> None:
    for _, node in plan.of("aws_instance"):
        node["disable_api_termination"] = not node["disable_api_termination"]


@checker(_reachable_nodes, _unprotected)
def nodes_are_protected_as_their_environment_says(plan: Plan) -> Iterator[str]:
    private = plan.case == "private"
    gateways = len(list(plan.of("aws_nat_gateway")))
    if gateways != (3 if private else 0):
        yield f"{gateways} NAT gateways"
    for address, node in plan.of("aws_instance"):
        if node["associate_public_ip_address"] == private:
            yield f"{address} is {'public' if private else 'out of reach of the Internet'}"
        protected = plan.environment == "prod" and not node["instance_market_options"]
        if node["disable_api_termination"] != protected:
            yield f"{address} {'can' if protected else 'cannot'} be terminated by mistake"
