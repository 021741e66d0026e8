"""Reachability: a small evaluator of NetworkPolicies and AuthorizationPolicies over the rendered Pods."""

from fnmatch import fnmatchcase

from tests.deploy.fleet import Pod, namespaces, of_kind, selects
from tests.deploy.platform import Object, Platform


class Network:
    """The NetworkPolicies of an environment."""

    def __init__(self, platform: Platform, environment: str) -> None:
        self._spaces = namespaces(platform, environment)
        self._policies = list(of_kind(platform, environment, "NetworkPolicy"))
        self._known: dict[tuple[str, str], list[Object]] = {}

    def lets(self, source: Pod, target: Pod, port: int) -> bool:
        """True when a TCP connection is let out at its source and in at its target."""
        out = self._allows("Egress", "egress", "to", source, target, port)
        return out and self.lets_in(source, target, port)

    def lets_in(self, source: Pod, target: Pod, port: int) -> bool:
        """The target's side alone."""
        return self._allows("Ingress", "ingress", "from", target, source, port)

    def lets_out(self, source: Pod, port: int = 443) -> bool:
        """True when it may connect to a public address."""
        bound = self._bound("Egress", source)
        rules = [rule for policy in bound for rule in policy["spec"].get("egress", [])]
        public = [rule for rule in rules if "to" not in rule or any("ipBlock" in peer for peer in rule["to"])]
        return not bound or any(self._has_port(rule, port) for rule in public)

    def _bound(self, kind: str, pod: Pod) -> list[Object]:
        if (kind, pod.name) not in self._known:
            self._known[kind, pod.name] = [
                policy
                for policy in self._policies
                if policy["metadata"]["namespace"] == pod.namespace
                and kind in policy["spec"]["policyTypes"]
                and selects(policy["spec"]["podSelector"], pod.labels)
            ]
        return self._known[kind, pod.name]

    def _allows(self, kind: str, rules: str, peers: str, pod: Pod, other: Pod, port: int) -> bool:
        bound = self._bound(kind, pod)
        return not bound or any(
            self._has_port(rule, port) and self._has_peer(rule.get(peers), pod, other)
            for policy in bound
            for rule in policy["spec"].get(rules, [])
        )

    @staticmethod
    def _has_port(rule: Object, port: int) -> bool:
        ports = [row["port"] for row in rule.get("ports", []) if row.get("protocol", "TCP") == "TCP"]
        return "ports" not in rule or port in ports

    def _has_peer(self, peers: list[Object] | None, pod: Pod, other: Pod) -> bool:
        return peers is None or any(self._is(peer, pod, other) for peer in peers)

    def _is(self, peer: Object, pod: Pod, other: Pod) -> bool:
        if "ipBlock" in peer:  # of addresses outside of the cluster
            return False
        space = peer.get("namespaceSelector")
        labels = self._spaces.get(other.namespace, {"kubernetes.io/metadata.name": other.namespace})
        inside = other.namespace == pod.namespace if space is None else selects(space, labels)
        return inside and selects(peer.get("podSelector", {}), other.labels)


MESH = "istio-system"


class Mesh:
    """The AuthorizationPolicies of an environment, for requests between two sidecars."""

    def __init__(self, platform: Platform, environment: str) -> None:
        self._spaces = namespaces(platform, environment)
        self._policies = list(of_kind(platform, environment, "AuthorizationPolicy"))
        self._known: dict[str, list[Object]] = {}

    def has(self, pod: Pod) -> bool:
        """True when it gets a sidecar."""
        return self._spaces.get(pod.namespace, {}).get("istio-injection") == "enabled"

    def lets(self, source: Pod, target: Pod, port: int, path: str = "/") -> bool:
        principal = ""
        if self.has(source) or source.name == "gateway":
            principal = f"cluster.local/ns/{source.namespace}/sa/{source.account}"
        request = {"principals": principal, "ports": str(port), "paths": path}
        if target.name not in self._known:
            self._known[target.name] = [row["spec"] for row in self._policies if self._binds(row, target)]
        bound = self._known[target.name]
        if any(spec.get("action") == "DENY" and self._matches(spec, request) for spec in bound):
            return False
        allow = [spec for spec in bound if spec.get("action", "ALLOW") == "ALLOW"]
        return not allow or any(self._matches(spec, request) for spec in allow)

    @staticmethod
    def _binds(policy: Object, pod: Pod) -> bool:
        within = policy["metadata"]["namespace"] in (MESH, pod.namespace)
        return within and selects(policy["spec"].get("selector", {}), pod.labels)

    def _matches(self, spec: Object, request: dict[str, str]) -> bool:
        return any(self._applies(rule, request) for rule in spec.get("rules", []))

    @staticmethod
    def _applies(rule: Object, request: dict[str, str]) -> bool:
        sources = [row["source"] for row in rule.get("from", [])]
        operations = [row["operation"] for row in rule.get("to", [])]
        return all(not rows or any(_all_of(row, request) for row in rows) for rows in (sources, operations))


def _all_of(row: Object, request: dict[str, str]) -> bool:
    """Fields that a request between sidecars does not have, such as hosts of the gateway, match nothing."""
    for name, values in row.items():
        key = name.removeprefix("not")
        key = key[0].lower() + key[1:]
        found = any(fnmatchcase(request.get(key, ""), value) for value in values)
        if found != (key == name) or key not in request:
            return False
    return True
