"""site.yml on chroots, twice; what it refuses and changes; then etcd is lost and comes back."""

import io
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.infra.ansible import chroots
from tests.infra.ansible.cluster import KEY, KUBERNETES, MASTER, WORKER, Cluster, Run, kill_etcd, open_cluster, s3
from tests.infra.ansible.playbooks import CHECKOUT

pytestmark = pytest.mark.timeout(900)

NODES = (MASTER, WORKER)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Run]]:
    """A cluster, and the first run of site.yml on it."""
    try:
        with open_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
            yield cluster, cluster.play("site.yml")
    except chroots.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def cluster(built: tuple[Cluster, Run]) -> Cluster:
    cluster, run = built
    assert run.code == 0, run.text[-6000:]
    return cluster


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_run_changes_nothing(cluster: Cluster) -> None:
    again = cluster.play("site.yml")
    assert again.code == 0, again.text[-6000:]
    assert again.changed == {MASTER: 0, WORKER: 0}, again.tasks_that_changed


@pytest.mark.parametrize("node", NODES)
def test_nodes_are_prepared(cluster: Cluster, node: str) -> None:
    root = cluster.roots[node]
    assert cluster.read(node, "/etc/hostname") == f"{node}\n"
    kernel = dict(
        line.split(" = ") for line in cluster.read(node, "/etc/sysctl.d/90-eco2.conf").splitlines() if " = " in line
    )
    assert kernel["net.ipv4.ip_forward"] == kernel["net.bridge.bridge-nf-call-iptables"] == "1"
    assert "br_netfilter\n" in cluster.read(node, "/etc/modules-load.d/eco2.conf")
    assert (root / "etc/systemd/system/swap.target").readlink() == Path("/dev/null")
    assert "169.254.169.123" in cluster.read(node, "/etc/chrony/sources.d/amazon.sources")
    wanted = {path.name for path in (root / "etc/systemd/system/multi-user.target.wants").iterdir()}
    assert {"containerd.service", "kubelet.service", "chrony.service"} <= wanted


@pytest.mark.parametrize("node", NODES)
def test_packages_are_of_the_pinned_version_and_held(cluster: Cluster, node: str) -> None:
    held = cluster.chroot(node, "apt-mark", "showhold").split()
    assert {"containerd.io", "kubeadm", "kubectl", "kubelet"} <= set(held)
    version = cluster.chroot(node, "dpkg-query", "--show", "--showformat=${Version}", "kubelet")
    assert version == f"{KUBERNETES}-1.1"
    assert "SystemdCgroup = true" in cluster.read(node, "/etc/containerd/config.toml")


def test_the_control_plane_encrypts_secrets_and_keeps_an_audit_log(cluster: Cluster) -> None:
    policies = cluster.roots[MASTER] / "etc/kubernetes/policies"
    assert KEY in (policies / "encryption.yaml").read_text()
    assert {_mode(policies / name) for name in ("encryption.yaml", "audit.yaml")} == {0o600}
    assert _mode(cluster.roots[MASTER] / "etc/kubernetes/kubeadm.yaml") == 0o600


def test_the_operator_gets_a_kubeconfig_for_the_tunnel(cluster: Cluster) -> None:
    file = cluster.folder / "kubeconfig"
    assert yaml.safe_load(file.read_text())["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:16443"
    assert _mode(file) == 0o600


def test_aws_finds_the_keys_of_service_accounts(cluster: Cluster) -> None:
    for key in (".well-known/openid-configuration", "openid/v1/jwks"):
        found = s3().get_object(Bucket="eco2-dev-oidc-111122223333", Key=key)
        assert found["ContentType"] == "application/json"
        assert found["Body"].read().startswith(b"{")


def test_a_worker_joins_with_labels_and_instance_and_leaves_no_token(cluster: Cluster) -> None:
    node = cluster.state["nodes"][WORKER]
    assert node["metadata"]["labels"]["node-pool"] == "app"
    assert node["spec"]["providerID"].startswith("aws:///ap-northeast-2")
    assert not list((cluster.roots[WORKER] / "run").glob("*join*"))


def test_network_disks_and_argo_cd_are_installed_from_what_is_pinned(cluster: Cluster) -> None:
    releases = cluster.state["releases"]
    assert list(releases) == ["calico-crds", "calico", "aws-ebs-csi-driver", "argocd"]
    assert releases["argocd"]["listed"]["chart"] == "argo-cd-8.6.4"
    assert releases["argocd"]["values"]["global"]["domain"] == "argocd.dev.growbin.app"
    assert releases["calico"]["values"]["installation"]["calicoNetwork"]["bgp"] == "Disabled"
    root = (CHECKOUT / "clusters/dev/root-app.yaml").read_text()
    assert cluster.state["applied"] == {"/etc/kubernetes/root-app.yaml": root}


def test_a_key_that_is_not_the_one_written_down_is_not_trusted(cluster: Cluster) -> None:
    run = cluster.play("site.yml", "--tags", "containerd", "--limit", WORKER, containerd_fingerprint="0" * 40)
    assert run.code != 0
    assert "alone" in run.text
    assert run.changed[WORKER] == 0, run.tasks_that_changed


def test_a_file_that_is_not_what_was_pinned_is_not_used(cluster: Cluster) -> None:
    run = cluster.play("site.yml", "--tags", "ebs_csi", ebs_csi_checksum=f"sha256:{'0' * 64}", ebs_csi_file="other.tgz")
    assert run.code != 0
    assert "checksum" in run.text
    assert list(cluster.state["releases"]) == ["calico-crds", "calico", "aws-ebs-csi-driver", "argocd"]


def test_a_site_run_never_upgrades_kubernetes(cluster: Cluster) -> None:
    run = cluster.play("site.yml", "--tags", "kubernetes_packages", kubernetes_version="1.36.5")
    assert run.code != 0
    assert "upgrade.yml takes it to 1.36.5" in run.text
    assert sum(run.changed.values()) == 0, run.tasks_that_changed


def test_a_changed_layout_changes_labels_and_taints_and_nothing_of_others(cluster: Cluster) -> None:
    state = cluster.state
    node = state["nodes"][WORKER]
    node["metadata"]["labels"].update({"workload": "api", "kubernetes.io/os": "linux"})
    node["spec"]["taints"] = [
        {"key": "domain", "value": "integration", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
    ]
    cluster.change_state(**state)
    given = cluster.inventory["all"]["hosts"][WORKER]
    before, given["node_taints"] = given["node_taints"], ["workload-type=worker:NoSchedule"]
    run = cluster.play("site.yml", "--tags", "node_labels")
    given["node_taints"] = before
    assert run.code == 0, run.text[-3000:]
    found = cluster.state["nodes"][WORKER]
    assert "workload" not in found["metadata"]["labels"]
    assert found["metadata"]["labels"]["kubernetes.io/os"] == "linux"
    assert sorted(row["key"] for row in found["spec"]["taints"]) == ["node.kubernetes.io/unreachable", "workload-type"]
    cluster.play("site.yml", "--tags", "node_labels")
    assert [row["key"] for row in cluster.state["nodes"][WORKER]["spec"]["taints"]] == [
        "node.kubernetes.io/unreachable"
    ]


def test_a_backup_holds_etcd_and_the_keys_and_only_the_operator_reads_it(cluster: Cluster) -> None:
    keys = cluster.chroot(MASTER, "eco2-etcd-backup", "list").split()
    body = s3().get_object(Bucket="eco2-dev-ops", Key=keys[-1])["Body"].read()
    assert body.startswith(b"age-encryption.org/")
    root = cluster.roots[MASTER]
    (root / "run/backup").write_bytes(body)
    (root / "run/identity").write_text((cluster.folder / "identity").read_text())
    cluster.chroot(MASTER, "age", "--decrypt", "--identity", "/run/identity", "--output", "/run/tar", "/run/backup")
    with tarfile.open(fileobj=io.BytesIO((root / "run/tar").read_bytes())) as tar:
        names = set(tar.getnames())
    for name in ("backup", "identity", "tar"):
        (root / "run" / name).unlink()
    assert {"snapshot.db", "pki/ca.key", "pki/sa.key", "pki/etcd/ca.key", "policies/encryption.yaml"} <= names


def test_a_backup_that_does_not_reach_s3_is_a_failure(cluster: Cluster) -> None:
    settings = cluster.roots[MASTER] / "etc/eco2/etcd-backup.json"
    before = settings.read_text()
    settings.write_text(before.replace("eco2-dev-ops", "no-such-bucket"))
    last = cluster.read(MASTER, "/var/lib/eco2/etcd-backups/last")
    try:
        with pytest.raises(AssertionError, match="NoSuchBucket"):
            cluster.chroot(MASTER, "eco2-etcd-backup", "save")
    finally:
        settings.write_text(before)
    assert cluster.read(MASTER, "/var/lib/eco2/etcd-backups/last") == last
    assert not list((cluster.roots[MASTER] / "var/lib/eco2/etcd-backups").glob("tmp*"))


def test_etcd_is_lost_and_comes_back(cluster: Cluster) -> None:
    for number in range(3):
        cluster.etcdctl("put", f"/registry/pods/{number}", f"before {number}")
    before = cluster.etcdctl("get", "--prefix", "/registry/")
    cluster.chroot(MASTER, "eco2-etcd-backup", "save")
    cluster.etcdctl("put", "/registry/pods/0", "after")
    cluster.etcdctl("put", "/registry/pods/9", "after")
    kill_etcd(cluster)
    assert cluster.etcdctl("get", "--prefix", "/registry/") == ""

    identity = str(cluster.folder / "identity")
    run = cluster.play("restore-etcd.yml", etcd_restore_identity=identity)
    assert run.code == 0, run.text[-6000:]
    assert cluster.etcdctl("get", "--prefix", "/registry/") == before
    root = cluster.roots[MASTER]
    assert not (root / "run/eco2-restore").exists()
    assert len(list((root / "etc/kubernetes/manifests").glob("*.yaml"))) == 4
    assert list((root / "var/lib").glob("etcd.*")), "what was there before is kept"


def test_a_restore_that_cannot_open_its_backup_touches_nothing(cluster: Cluster) -> None:
    stranger = cluster.folder / "stranger"
    stranger.write_text(cluster.chroot(MASTER, "age-keygen"))
    cluster.etcdctl("put", "/registry/pods/still", "here")
    run = cluster.play("restore-etcd.yml", etcd_restore_identity=str(stranger))
    assert run.code != 0
    assert "here" in cluster.etcdctl("get", "/registry/pods/still")
    assert not (cluster.roots[MASTER] / "run/eco2-restore/identity").exists()


@pytest.mark.slow
def test_a_lost_control_plane_node_is_built_again_from_its_backup(cluster: Cluster) -> None:
    cluster.etcdctl("put", "/registry/pods/kept", "kept")
    cluster.chroot(MASTER, "eco2-etcd-backup", "save")
    root = cluster.roots[MASTER]
    authority = cluster.read(MASTER, "/etc/kubernetes/pki/ca.crt")
    cluster.chroot(MASTER, "sh", "-c", "rm -rf /etc/kubernetes/* && mkdir /etc/kubernetes/manifests")
    kill_etcd(cluster)
    cluster.inventory["all"]["hosts"][MASTER]["provider_id"] = "aws:///ap-northeast-2a/i-0000000000000new"
    run = cluster.play("restore-etcd.yml", etcd_restore_identity=str(cluster.folder / "identity"))
    assert run.code == 0, run.text[-6000:]
    assert not (root / "etc/kubernetes/pki/etcd/server.crt").exists()
    cluster.change_state(nodes={name: row for name, row in cluster.state["nodes"].items() if name != MASTER})
    run = cluster.play("site.yml")
    assert run.code == 0, run.text[-6000:]
    assert cluster.read(MASTER, "/etc/kubernetes/pki/ca.crt") == authority
    assert "kept" in cluster.etcdctl("get", "/registry/pods/kept")
    again = cluster.play("site.yml")
    assert sum(again.changed.values()) == 0, again.tasks_that_changed
