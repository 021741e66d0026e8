"""istiod beside the control plane: what it makes of our routes for the gateway, and the sidecars of its webhook."""

import base64
import datetime
import ipaddress
import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.deploy.applications import applications
from tests.deploy.platform import Object, Platform
from tools.cluster import ClusterError
from tools.cluster.control_plane import ControlPlane, free_ports
from tools.cluster.programs import HERE, go, path

ADDRESSES = ("httpAddr", "httpsAddr", "grpcAddr", "monitoringAddr")
NAMESPACE = "istio-system"
GATEWAY = "istio-ingressgateway"


@cache
def chart() -> Path:
    """The chart of istiod in the module that istiod itself is built from."""
    command = [go(), "list", "-m", "-f", "{{.Dir}}", "istio.io/istio"]
    done = subprocess.run(command, cwd=HERE / "istiod", capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"the module of Istio could not be found: {done.stderr.strip()}")
    return Path(done.stdout.strip()) / "manifests/charts/istio-control/istio-discovery"


def values(tree: Platform, environment: str) -> dict[str, Any]:
    """Values of the chart: its defaults, and over them those of our Application and its file."""
    defaults: dict[str, Any] = yaml.safe_load((chart() / "values.yaml").read_text())["_internal_defaults_do_not_set"]
    (ours,) = (row.values for row in applications(tree, environment) if row.name == "istiod")
    own = yaml.safe_load(tree.texts["workloads/routing/gateway/istiod-values.yaml"])
    found = _merged(_merged(defaults, ours), own)
    # The chart takes what stands under `pilot` for its own.
    return _merged(found, ours.get("pilot", {}))


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = dict(one)
    for key, value in other.items():
        inner = both.get(key)
        both[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return both


def start(
    plane: ControlPlane, tree: Platform, environment: str, changes: Object | None = None, **settings: str
) -> dict[str, str]:
    """Start istiod with the configuration that its chart would write; its addresses by the flag that sets them.

    `changes` are of the mesh's configuration, `settings` of istiod's environment."""
    given = values(tree, environment)
    _write(plane.folder / "etc/istio/config/mesh", yaml.safe_dump(_merged(_mesh(given), changes or {})))
    _write(plane.folder / "var/lib/istio/inject/config", _injection(given))
    _write(plane.folder / "var/lib/istio/inject/values", json.dumps(_injected_values(given)))
    certificate, key = _certificate(plane)
    addresses = {flag: f"127.0.0.1:{port}" for flag, port in zip(ADDRESSES, free_ports(4), strict=True)}
    arguments = {
        **addresses,
        "secureGRPCAddr": "",
        "meshConfig": str(plane.folder / "etc/istio/config/mesh"),
        "kubeconfig": str(plane.folder / "kubeconfig"),
        "namespace": NAMESPACE,
        "ctrlz_port": "0",
        "caCertFile": str(plane.pki / "ca.crt"),
        "tlsCertFile": str(certificate),
        "tlsKeyFile": str(key),
    }
    command = {"": "discovery", **arguments}
    environment_of = {
        **{name: str(value) for name, value in given.get("env", {}).items()},
        "POD_NAME": "istiod", "POD_NAMESPACE": NAMESPACE, "CLUSTER_ID": "Kubernetes", "REVISION": "default",
        "VALIDATION_WEBHOOK_CONFIG_NAME": "", "INJECTION_WEBHOOK_CONFIG_NAME": "", **settings,
    }  # fmt: skip
    plane.run("istiod", command, **environment_of)
    return addresses


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _mesh(given: dict[str, Any]) -> dict[str, Any]:
    mesh = {
        "trustDomain": "cluster.local",
        "rootNamespace": NAMESPACE,
        "defaultProviders": {"metrics": ["prometheus"]},
        "defaultConfig": {"discoveryAddress": f"istiod.{NAMESPACE}.svc:15012"},
    }
    return _merged(mesh, given["meshConfig"])


def _injection(given: dict[str, Any]) -> str:
    templates = {"sidecar": "injection-template.yaml", "gateway": "gateway-injection-template.yaml"}
    return yaml.safe_dump(
        {
            "defaultTemplates": ["sidecar"],
            "policy": given["global"]["proxy"]["autoInject"],
            "alwaysInjectSelector": [],
            "neverInjectSelector": [],
            "injectedAnnotations": {},
            "templates": {name: (chart() / "files" / file).read_text() for name, file in templates.items()},
        }
    )


def _injected_values(given: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: given[key] for key in ("global", "sidecarInjectorWebhook", "revision")},
        "pilot": {key: given[key] for key in ("cni", "env")},
        "gateways": {},
    }


def _certificate(plane: ControlPlane) -> tuple[Path, Path]:
    """For istiod's webhook on loopback, by the cluster's own authority."""
    authority = x509.load_pem_x509_certificate((plane.pki / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((plane.pki / "ca.key").read_bytes(), None)
    assert isinstance(signer, rsa.RSAPrivateKey)
    key = rsa.generate_private_key(65537, 2048)
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(f"istiod.{NAMESPACE}.svc")]
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "istiod")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signer, hashes.SHA256())
    )
    folder = plane.folder / "istiod"
    folder.mkdir(exist_ok=True)
    pem = serialization.Encoding.PEM
    (folder / "tls.crt").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "tls.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder / "tls.crt", folder / "tls.key"


def webhook(plane: ControlPlane, addresses: dict[str, str]) -> Object:
    """As the chart registers it for namespaces with the label; at an address, since no Service leads anywhere here."""
    bundle = base64.b64encode((plane.pki / "ca.crt").read_bytes()).decode()
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    refused = {"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector"},
        "webhooks": [
            {
                "name": "namespace.sidecar-injector.istio.io",
                "clientConfig": {"url": f"https://{addresses['httpsAddr']}/inject", "caBundle": bundle},
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "failurePolicy": "Fail",
                "rules": [rule],
                "namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}},
                "objectSelector": {"matchExpressions": [refused]},
            }
        ],
    }


def gateway_metadata(labels: Mapping[str, str]) -> Object:
    """As the agent beside the gateway's Envoy says them of itself."""
    return {
        "LABELS": dict(labels),
        "NAMESPACE": NAMESPACE,
        "CLUSTER_ID": "Kubernetes",
        "ISTIO_VERSION": "1.31.0",
        "SERVICE_ACCOUNT": GATEWAY,
    }


def gateway_configuration(addresses: dict[str, str], pod: Object) -> dict[str, list[Object]]:
    """Clusters, listeners and routes that istiod gives to the proxy of a Pod of the gateway."""
    metadata = pod["metadata"]
    node = f"router~{pod['status']['podIP']}~{metadata['name']}.{NAMESPACE}~{NAMESPACE}.svc.cluster.local"
    command = [
        str(path("gateway-config")), "-address", addresses["grpcAddr"], "-node", node,
        "-metadata", json.dumps(gateway_metadata(metadata["labels"])),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise ClusterError(f"istiod gives no configuration to the gateway: {done.stderr.strip()[-2000:]}")
    found: dict[str, list[Object]] = json.loads(done.stdout)
    return found


def normalised(plane: ControlPlane, bootstrap: Object) -> Object:
    """An Envoy's configuration in the form of `gateway_configuration`."""
    file = plane.folder / "bootstrap.json"
    file.write_text(json.dumps(bootstrap))
    done = subprocess.run([path("gateway-config"), "-bootstrap", file], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise ClusterError(f"Envoy's configuration is not one: {done.stderr.strip()[-2000:]}")
    found: Object = json.loads(done.stdout)
    return found
