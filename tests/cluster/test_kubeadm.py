"""kubeadm itself judges the configuration that Ansible renders for every node."""

import copy
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cluster.conftest import Cluster, built
from tests.deploy.platform import Object
from tools.cluster import configuration
from tools.cluster.configuration import kubeadm

Rendered = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def rendered(cluster_environment: str, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    built("kubeadm")
    return configuration.render(cluster_environment, tmp_path_factory.mktemp(cluster_environment))


@pytest.fixture(scope="module", params=("dev", "staging", "prod"))
def cluster_environment(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _judge(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "kubeadm.yaml"
    file.write_text(text)
    return kubeadm("config", "validate", "--config", file)


def test_kubeadm_takes_the_configuration_of_every_node(
    rendered: Rendered, cluster_environment: str, tmp_path: Path, seen: list[tuple[str, str, str]]
) -> None:
    for name, texts in rendered.items():
        done = _judge(texts["kubeadm"] or texts["join"], tmp_path)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        assert "WARNING" not in done.stderr, done.stderr
        assert done.stderr == "" or "deprecated" not in done.stderr.lower()
    seen.append((cluster_environment, "configurations that kubeadm takes", f"{len(rendered)} of {len(rendered)} nodes"))


def _spoil(document: Object, spoiled: str) -> None:
    if spoiled == "unknown field" and document["kind"] == "ClusterConfiguration":
        document["apiServer"]["extraArguments"] = []
    elif spoiled == "overlap" and document["kind"] == "ClusterConfiguration":
        document["networking"]["serviceSubnet"] = "10.96.0.0/30"
    elif spoiled == "kubelet" and document["kind"] == "KubeletConfiguration":
        document["evictionHarder"] = {}
    elif spoiled == "token" and document["kind"] == "InitConfiguration":
        document["bootstrapTokens"][0]["token"] = "no-token"


@pytest.mark.parametrize("spoiled", ["unknown field", "overlap", "kubelet", "token"])
def test_kubeadm_refuses_a_mistake(rendered: Rendered, spoiled: str, tmp_path: Path) -> None:
    documents = [
        copy.deepcopy(row) for row in yaml.safe_load_all(configuration.control_plane(rendered)["kubeadm"]) if row
    ]
    for document in documents:
        _spoil(document, spoiled)
    done = _judge(yaml.safe_dump_all(documents), tmp_path)
    assert done.returncode != 0 or "unknown field" in done.stderr


@pytest.mark.parametrize("cluster", ["dev"], indirect=True)
def test_the_api_server_runs_with_the_flags_that_kubeadm_makes_of_it(cluster: Cluster) -> None:
    flags = cluster.plane.arguments["kube-apiserver"]
    assert flags["audit-policy-file"].endswith("/policies/audit.yaml")
    assert flags["encryption-provider-config"].endswith("/policies/encryption.yaml")
    assert flags["tls-min-version"] == "VersionTLS12"
    issuer = cluster.api.ask("get", "--raw", "/.well-known/openid-configuration")
    assert flags["service-account-issuer"] in issuer
    cluster.note("flags of the API server", f"{len(flags)}, made by kubeadm of Ansible's configuration")
