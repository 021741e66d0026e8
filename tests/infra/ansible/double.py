#!/usr/bin/python3
"""Stands for kubeadm, kubectl, helm, ctr, crictl and kubelet inside a chroot, by the name it is called by.

What a cluster would know is in one file that all chroots share; what kubeadm would write on a node, with real keys,
is written.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

State = dict[str, Any]

HOSTNAME = Path("/etc/hostname")
STATE_FILE = Path("/var/lib/double/state.json")
KUBERNETES = Path("/etc/kubernetes")
PKI = KUBERNETES / "pki"
VERSION = "@VERSION@"
ETCD = "registry.k8s.io/etcd:3.6.6-0"
MANIFESTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def main() -> None:
    name, words = Path(sys.argv[0]).name, sys.argv[1:]
    with STATE_FILE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = (
            json.loads(STATE_FILE.read_text())
            if STATE_FILE.exists()
            else {"nodes": {}, "releases": {}, "applied": {}, "calls": []}
        )
        state["calls"].append([HOSTNAME.read_text().strip(), name, *words])
        try:
            globals()[name](state, words)
        finally:
            STATE_FILE.write_text(json.dumps(state))


def end(message: str) -> None:
    sys.exit(f"double: {message}")


# kubeadm


def kubeadm(state: State, words: list[str]) -> None:
    if words[:3] == ["config", "images", "list"]:
        print(f"registry.k8s.io/kube-apiserver:v{VERSION}\nregistry.k8s.io/pause:3.10.1\n{ETCD}")
    elif words[:2] == ["init", "phase"] or words[:2] == ["upgrade", "node"]:
        print("done")
    elif words[0] == "init":
        init(state, words)
    elif words[0] == "reset":
        for path in (KUBERNETES / "manifests", PKI, Path("/var/lib/etcd")):
            shutil.rmtree(path, ignore_errors=True)
        for path in KUBERNETES.glob("*.conf"):
            path.unlink()
    elif words[:2] == ["token", "create"]:
        print("abcdef.0123456789abcdef")
    elif words[0] == "join":
        configuration = documents(words[words.index("--config") + 1])["JoinConfiguration"]
        authority = subprocess.check_output(
            "openssl x509 -pubkey -noout -in /var/lib/double/ca.crt | openssl pkey -pubin -outform der | sha256sum",
            shell=True,
            text=True,
        )
        if configuration["discovery"]["bootstrapToken"]["caCertHashes"] != ["sha256:" + authority.split()[0]]:
            end("the authority is not that of the cluster")
        register(state, configuration["nodeRegistration"])
        KUBERNETES.mkdir(exist_ok=True)
        (KUBERNETES / "kubelet.conf").write_text("kubelet\n")
    elif words[:2] == ["upgrade", "apply"]:
        state["version"] = words[-1]
    else:
        end(f"kubeadm {words}")


def init(state: State, words: list[str]) -> None:
    if (KUBERNETES / "manifests/etcd.yaml").exists():
        end("/etc/kubernetes/manifests/etcd.yaml exists")
    if Path("/var/lib/etcd/member").exists() and "--ignore-preflight-errors=DirAvailable--var-lib-etcd" not in words:
        end("/var/lib/etcd is not empty")
    configuration = documents(words[words.index("--config") + 1])
    registration = configuration["InitConfiguration"]["nodeRegistration"]
    address = configuration["InitConfiguration"]["localAPIEndpoint"]["advertiseAddress"]
    authorities()
    for folder in (KUBERNETES / "manifests", Path("/var/lib/etcd")):
        folder.mkdir(parents=True, exist_ok=True)
    endpoint = configuration["ClusterConfiguration"]["controlPlaneEndpoint"]
    (KUBERNETES / "admin.conf").write_text(f"clusters:\n- cluster:\n    server: https://{endpoint}\n  name: eco2\n")
    (KUBERNETES / "kubelet.conf").write_text("kubelet\n")
    for name in MANIFESTS:
        (KUBERNETES / f"manifests/{name}.yaml").write_text(f"{name} {registration['name']} {address}\n")
    if state.get("fail_init"):
        end("the kubelet did not start the API server")
    state["version"] = configuration["ClusterConfiguration"]["kubernetesVersion"]
    register(state, registration)


def register(state: State, registration: Any) -> None:
    arguments = {row["name"]: row["value"] for row in registration["kubeletExtraArgs"]}
    known = state["nodes"].get(registration["name"])
    if known and known["spec"]["providerID"] != arguments["provider-id"]:
        end("node: spec.providerID: Forbidden")
    state["nodes"][registration["name"]] = {
        "metadata": {
            "name": registration["name"],
            "labels": dict(pair.split("=") for pair in arguments["node-labels"].split(",")),
        },
        "spec": {"providerID": arguments["provider-id"], "taints": registration["taints"]},
        "status": {"nodeInfo": {"kubeletVersion": "v" + VERSION}},
    }


def authorities() -> None:
    (PKI / "etcd").mkdir(parents=True, exist_ok=True)
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    for name in ("ca", "front-proxy-ca", "etcd/ca"):
        if not (PKI / f"{name}.crt").exists():
            subject = f"/CN={name.replace('/', '-')}"
            openssl(*new, "-subj", subject, "-keyout", PKI / f"{name}.key", "-out", PKI / f"{name}.crt")
    if not (PKI / "sa.key").exists():
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", PKI / "sa.key")
        openssl("ec", "-in", PKI / "sa.key", "-pubout", "-out", PKI / "sa.pub")
    signed = [
        "-CA",
        PKI / "etcd/ca.crt",
        "-CAkey",
        PKI / "etcd/ca.key",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    for name in ("server", "peer", "healthcheck-client"):
        files = ["-keyout", PKI / f"etcd/{name}.key", "-out", PKI / f"etcd/{name}.crt"]
        openssl(*new, *signed, *names, "-subj", f"/CN={name}", *files)
    shutil.copy(PKI / "ca.crt", "/var/lib/double/ca.crt")


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def documents(path: str) -> Any:
    import yaml

    return {row["kind"]: row for row in yaml.safe_load_all(Path(path).read_text())}


# kubectl


def kubectl(state: State, words: list[str]) -> None:
    words = [word for word in words if not word.startswith("--kubeconfig") and word != "/etc/kubernetes/admin.conf"]
    verb, rest = words[0], words[1:]
    nodes = state["nodes"]
    if verb == "get" and rest[0] == "--raw":
        answers = {
            "/readyz": "ok",
            "/version": json.dumps({"gitVersion": state.get("version")}),
            "/.well-known/openid-configuration": '{"issuer": "https://issuer"}',
            "/openid/v1/jwks": '{"keys": []}',
        }
        print(answers[rest[1]])
    elif verb == "get" and rest[0] == "nodes":
        print(json.dumps({"items": list(nodes.values())}))
    elif verb == "get" and rest[0] == "node":
        node = nodes.get(rest[1])
        if node is None:
            if "--ignore-not-found" not in rest:
                end(f'nodes "{rest[1]}" not found')
        elif any("providerID" in word for word in rest):
            print(node["spec"]["providerID"], end="")
        elif any("kubeletVersion" in word for word in rest):
            print(node["status"]["nodeInfo"]["kubeletVersion"], "True", end="")
        else:
            print(json.dumps(node))
    elif verb == "get":
        print("Synced Healthy", end="")
    elif verb == "label":
        labels = nodes[rest[1]]["metadata"]["labels"]
        for word in rest[2:]:
            if word.endswith("-"):
                labels.pop(word[:-1])
            elif "=" in word:
                key, _, value = word.partition("=")
                labels[key] = value
    elif verb == "taint":
        taint(nodes[rest[1]]["spec"], rest[2:])
    elif verb == "delete":
        nodes.pop(rest[1], None)
    elif verb == "drain":
        nodes[rest[0]]["spec"]["unschedulable"] = True
        if state.get("fail_drain") == rest[0]:
            end("Cannot evict pod as it would violate the pod's disruption budget.")
    elif verb == "uncordon":
        nodes[rest[0]]["spec"].pop("unschedulable", None)
    elif verb == "wait":
        print("condition met")
    elif verb == "apply":
        path = rest[rest.index("--filename") + 1]
        text = Path(path).read_text()
        print("unchanged" if state["applied"].get(path) == text else "created")
        state["applied"][path] = text
    else:
        end(f"kubectl {words}")


def taint(spec: Any, words: list[str]) -> None:
    for word in words:
        if word.startswith("--"):
            continue
        pair, _, effect = word.rstrip("-").rpartition(":")
        key, _, value = pair.partition("=")
        spec["taints"] = [row for row in spec["taints"] if (row["key"], row["effect"]) != (key, effect)]
        if not word.endswith("-"):
            spec["taints"].append(
                {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}
            )


# helm


def helm(state: State, words: list[str]) -> None:
    import yaml

    options = dict(word.lstrip("-").split("=", 1) for word in words if word.startswith("-") and "=" in word)
    plain = [word for word in words if not word.startswith("-")]
    releases = state["releases"]
    if plain[0] == "version":
        print('version.BuildInfo{Version:"v3.18.4", GitCommit:""}')
    elif plain[0] == "list":
        wanted = options.get("filter", "").strip("^$")
        print(yaml.safe_dump([row["listed"] for name, row in releases.items() if not wanted or name == wanted]))
    elif plain[0] == "get":
        print(yaml.safe_dump(releases[plain[-1]]["values"]))
    elif plain[0] == "plugin":
        print("NAME\tVERSION\tDESCRIPTION")
    elif plain[0] == "show":
        print(yaml.safe_dump(chart(plain[-1], options)))
    elif plain[0] == "upgrade":
        name, reference = plain[-2:]
        about = chart(reference, options)
        values = yaml.safe_load(Path(options["f"]).read_text()) if "f" in options else {}
        listed = {
            "name": name,
            "namespace": os.environ.get("HELM_NAMESPACE", ""),
            "revision": "1",
            "status": "deployed",
            "chart": f"{about['name']}-{about['version']}",
            "app_version": "",
        }
        releases[name] = {"listed": listed, "values": values, "namespaces": words}
    else:
        end(f"helm {words}")


def chart(reference: str, options: dict[str, str]) -> Any:
    if "repo" not in options and not Path(reference).exists():
        end(f"no chart {reference}")
    name = Path(reference).name.removesuffix(".tgz")
    return {"name": name, "version": options.get("version", "1.0.0")}


# The rest


def ctr(state: State, words: list[str]) -> None:
    command, rest = words[3], words[4:]
    if command == "mount":
        folder = Path(rest[1]) / "usr/local/bin"
        folder.mkdir(parents=True)
        for name in ("etcdctl", "etcdutl"):
            # Debian's etcdctl can still do what etcd moved to etcdutl.
            (folder / name).write_text('#!/bin/sh\nexec /usr/bin/etcdctl "$@"\n')
    elif command == "unmount":
        shutil.rmtree(Path(rest[0]) / "usr")


def crictl(state: State, words: list[str]) -> None:
    pass


def kubelet(state: State, words: list[str]) -> None:
    """Tell the cluster which version the node runs, as a kubelet does when it starts."""
    node = state["nodes"].get(HOSTNAME.read_text().strip())
    if node:
        node["status"]["nodeInfo"]["kubeletVersion"] = "v" + VERSION


if __name__ == "__main__":
    main()
