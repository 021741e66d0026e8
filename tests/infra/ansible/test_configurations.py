"""Files that roles render for every environment and layout: by schema, and against clusters/layouts.yaml."""

import copy
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.platform import KUBECTL
from tests.infra.ansible.playbooks import ANSIBLE, CASES, CHECKOUT, LAYOUTS, inventory, run

HERE = Path(__file__).parent
KEY = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
SCHEMAS: dict[str, Any] = {}
for file in ("kubeadm.yaml", "apiserver.yaml"):
    content = yaml.safe_load((HERE / "schemas" / file).read_text())
    SCHEMAS |= {kind: {**schema, "$defs": content["$defs"]} for kind, schema in content.items() if kind != "$defs"}
POLICY = yaml.safe_load((ANSIBLE / "roles/control_plane/files/audit.yaml").read_text())

Rendered = dict[str, dict[str, str]]
"""Node → name of a configuration → its text."""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Rendered]:
    folder = tmp_path_factory.mktemp("rendered")
    found = {}
    for environment, layout in CASES:
        path = folder / f"{environment}-{layout}.yml"
        path.write_text(yaml.safe_dump(inventory(environment, layout)))
        done = run(
            HERE / "render.yml", "-i", path, "-e", f"checkout={CHECKOUT} control_plane_encryption_key={KEY}",
            ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        hosts = json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"]
        found[environment, layout] = {name: row["msg"] for name, row in hosts.items()}
    return found


@dataclass(frozen=True)
class Case:
    environment: str
    layout: str
    nodes: Rendered

    @property
    def any_node(self) -> dict[str, str]:
        return next(iter(self.nodes.values()))


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def case(request: pytest.FixtureRequest, rendered: dict[tuple[str, str], Rendered]) -> Case:
    environment, layout = request.param
    return Case(environment, layout, rendered[environment, layout])


def _documents(text: str) -> dict[str, Any]:
    return {row["kind"]: row for row in yaml.safe_load_all(text) if row}


def _check(document: dict[str, Any]) -> None:
    schema = SCHEMAS[document["kind"]]
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(document)


def _kubeadm(nodes: Rendered) -> dict[str, Any]:
    return _documents(next(row["kubeadm"] for row in nodes.values() if row["kubeadm"]))


def test_every_configuration_has_the_fields_of_its_kind_and_no_others(case: Case) -> None:
    assert set(_kubeadm(case.nodes)) == set(SCHEMAS) - {"JoinConfiguration", "Policy", "EncryptionConfiguration"}
    for texts in case.nodes.values():
        for name in ("kubeadm", "encryption", "join"):
            for document in _documents(texts[name]).values():
                _check(document)


def test_nodes_register_with_labels_and_taints_of_their_pool(case: Case) -> None:
    seen = set()
    for name, texts in case.nodes.items():
        kind, text = (
            ("InitConfiguration", texts["kubeadm"]) if texts["kubeadm"] else ("JoinConfiguration", texts["join"])
        )
        registration = _documents(text)[kind]["nodeRegistration"]
        arguments = {row["name"]: row["value"] for row in registration["kubeletExtraArgs"]}
        labels = dict(pair.split("=") for pair in arguments["node-labels"].split(","))
        pool = _pool(case.layout, name)
        seen.add(pool)
        assert LAYOUTS["pools"][pool]["labels"].items() <= labels.items()
        assert [_text(row) for row in registration["taints"]] == LAYOUTS["pools"][pool].get("taints", [])
        assert labels["topology.kubernetes.io/zone"] == arguments["provider-id"].split("/")[3]
        assert registration["name"] == name
    assert len(seen) > 1


def _pool(layout: str, node: str) -> str:
    return next(
        str(row["pool"])
        for row in LAYOUTS["layouts"][layout]
        if node == row["name"] or ("count" in row and node.rpartition("-")[0] == row["name"])
    )


def _text(taint: dict[str, str]) -> str:
    value = f"={taint['value']}" if "value" in taint else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def test_the_version_is_of_the_minor_that_layouts_name(case: Case) -> None:
    version = _kubeadm(case.nodes)["ClusterConfiguration"]["kubernetesVersion"]
    assert version.startswith(f"v{LAYOUTS['kubernetes']}.")


def test_files_that_the_api_server_is_told_of_are_mounted(case: Case) -> None:
    server = _kubeadm(case.nodes)["ClusterConfiguration"]["apiServer"]
    folders = [row["mountPath"] for row in server["extraVolumes"]]
    paths = [row["value"] for row in server["extraArgs"] if row["value"].startswith("/")]
    assert len(paths) == 3
    assert all(any(path.startswith(f"{folder}/") for folder in folders) for path in paths)


def test_calico_wraps_packets_in_vxlan_and_announces_no_routes(case: Case) -> None:
    network = yaml.safe_load(case.any_node["calico"])["installation"]["calicoNetwork"]
    assert network["bgp"] == "Disabled"
    subnet = _kubeadm(case.nodes)["ClusterConfiguration"]["networking"]["podSubnet"]
    assert [(pool["encapsulation"], pool["cidr"]) for pool in network["ipPools"]] == [("VXLAN", subnet)]


def test_volumes_carry_the_name_of_their_cluster(case: Case) -> None:
    controller = yaml.safe_load(case.any_node["ebs_csi"])["controller"]
    assert controller["k8sTagClusterId"] == f"eco2-{case.environment}"
    role = controller["serviceAccount"]["annotations"]["eks.amazonaws.com/role-arn"]
    assert {row["name"]: row["value"] for row in controller["env"]}["AWS_ROLE_ARN"] == role


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("InitConfiguration", lambda row: row.update(nodeRegistrations={})),
        ("ClusterConfiguration", lambda row: row["apiServer"].update(extraArgs={"profiling": "false"})),
        ("ClusterConfiguration", lambda row: row["apiServer"]["extraArgs"].append({"name": "v", "value": 2})),
        ("KubeletConfiguration", lambda row: row.update(readOnlyPort=10255)),
        ("KubeletConfiguration", lambda row: row.update(cgroupDriver="cgroupfs")),
        ("JoinConfiguration", lambda row: row["discovery"]["bootstrapToken"].pop("caCertHashes")),
        (
            "JoinConfiguration",
            lambda row: row["nodeRegistration"]["taints"].append({"key": "a:b", "effect": "NoSchedule"}),
        ),
        ("EncryptionConfiguration", lambda row: row["resources"][0]["providers"].reverse()),
        ("EncryptionConfiguration", lambda row: row["resources"][0].update(resources=["configmaps"])),
        ("Policy", lambda row: row["rules"][0].update(level="Body")),
        ("Policy", lambda row: row["rules"][0].update(resources=[{"group": "", "resources": ["pods"]}])),
        ("Policy", lambda row: row["rules"][1]["resources"][0].pop("group")),
    ],
)
def test_a_broken_configuration_is_refused(kind: str, spoil: Any, rendered: dict[tuple[str, str], Rendered]) -> None:
    nodes = rendered["prod", "pools"]
    texts = "\n---\n".join(
        [nodes["k8s-master"]["kubeadm"], nodes["k8s-spot-1"]["join"], nodes["k8s-master"]["encryption"]]
    )
    document = {**_documents(texts), "Policy": copy.deepcopy(POLICY)}[kind]
    _check(document)
    spoil(document)
    with pytest.raises(jsonschema.ValidationError):
        _check(document)


SECRET = {"group": "", "resource": "secrets"}


@pytest.mark.parametrize(
    ("request_", "level"),
    [
        ({**SECRET, "verb": "get", "user": "somebody", "groups": []}, "Metadata"),
        ({**SECRET, "verb": "create", "user": "somebody", "groups": ["system:masters"]}, "Metadata"),
        ({**SECRET, "verb": "update", "user": "x", "groups": ["system:serviceaccounts:argocd"]}, "Metadata"),
        ({"group": "", "resource": "serviceaccounts/token", "verb": "create", "user": "x", "groups": []}, "Metadata"),
        ({"group": "", "resource": "pods/exec", "verb": "create", "user": "x", "groups": []}, "Request"),
        (
            {
                "group": "rbac.authorization.k8s.io",
                "resource": "clusterroles",
                "verb": "patch",
                "user": "x",
                "groups": [],
            },
            "RequestResponse",
        ),
        ({"group": "apps", "resource": "deployments", "verb": "delete", "user": "x", "groups": []}, "Request"),
        ({"group": "", "resource": "pods", "verb": "get", "user": "x", "groups": []}, "Metadata"),
        ({"group": "coordination.k8s.io", "resource": "leases", "verb": "update", "user": "x", "groups": []}, "None"),
        (
            {"group": "", "resource": "pods", "verb": "list", "user": "x", "groups": ["system:serviceaccounts:argocd"]},
            "None",
        ),
    ],
)
def test_the_audit_log_keeps_who_and_what_and_never_a_secret(request_: dict[str, Any], level: str) -> None:
    assert _level(request_) == level


def _level(request: dict[str, Any]) -> str:
    """As the API server finds it: the first rule that matches."""
    for rule in POLICY["rules"]:
        resources = [
            row
            for row in rule.get("resources", [])
            if row["group"] == request["group"] and {request["resource"], "*"} & set(row["resources"])
        ]
        if "nonResourceURLs" in rule or ("resources" in rule and not resources):
            continue
        if "verbs" in rule and request["verb"] not in rule["verbs"]:
            continue
        if "users" in rule and request["user"] not in rule["users"]:
            continue
        if "userGroups" in rule and not set(rule["userGroups"]) & set(request["groups"]):
            continue
        return str(rule["level"])
    return "None"


def test_argo_cd_is_installed_as_it_will_keep_itself(case: Case) -> None:
    """Chart, version and values are those that the rendered Application has."""
    source = json.loads(case.any_node["argocd"])
    text = subprocess.run(
        [KUBECTL, "kustomize", CHECKOUT / "clusters" / case.environment], capture_output=True, text=True, check=True
    ).stdout
    applications = [row for row in yaml.safe_load_all(text) if row["kind"] == "Application"]
    assert source == next(
        row["spec"]["source"] for row in applications if row["metadata"]["name"] == f"{case.environment}-argocd"
    )
    assert int(source["targetRevision"].split(".")[0]) >= 8, "chart 8 is Argo CD 3"


def test_what_the_playbook_waits_for_are_applications() -> None:
    names = yaml.safe_load((ANSIBLE / "roles/platform/defaults/main.yml").read_text())["platform_applications"]
    found = {
        yaml.safe_load(path.read_text())["metadata"]["name"]
        for path in (CHECKOUT / "clusters/base/apps").glob("[0-9]*.yaml")
    }
    assert set(names) <= found
