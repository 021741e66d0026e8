"""Nodes: disks, metadata, pools, zones, the inventory that Ansible is given, protection."""

from collections.abc import Iterator

import yaml

from tests.infra.checks.registry import checker, first
from tests.infra.plans import CHECKOUT, Plan, Values


def _plain_disk(plan: Plan) -> None:
    first(plan, "aws_instance")["root_block_device"][0]["encrypted"] = False


def _old_disk(plan: Plan) -> None:
    first(plan, "aws_instance")["root_block_device"][0]["volume_type"] = "gp2"


def _further_disk(plan: Plan) -> None:
    first(plan, "aws_instance")["ebs_block_device"] = [{"device_name": "/dev/sdf", "volume_type": "gp3"}]


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
    first(plan, "aws_instance")["metadata_options"][0]["http_tokens"] = "optional"


def _credentials_for_pods(plan: Plan) -> None:
    first(plan, "aws_instance")["metadata_options"][0]["http_put_response_hop_limit"] = 2


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
    first(plan, "aws_instance")["instance_type"] = "t3.nano"


def _small_disk(plan: Plan) -> None:
    first(plan, "aws_instance")["root_block_device"][0]["volume_size"] = 8


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
    subnet = first(plan, "aws_instance")["subnet_id"]
    for _, node in plan.of("aws_instance"):
        node["subnet_id"] = subnet


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
