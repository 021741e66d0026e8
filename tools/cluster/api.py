"""The Kubernetes API through kubectl of the requirements, as Argo CD and an operator use it."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.deploy.platform import KUBECTL
from tools.cluster import ClusterError

Object = dict[str, Any]
T = TypeVar("T")
MANAGER = "argocd-controller"
"""The field manager of Argo CD."""


class Refused(ClusterError):
    """The API server's answer to something that it does not take."""


@dataclass(frozen=True)
class Api:
    kubeconfig: Path

    def run(self, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": f"{self.kubeconfig}.cache"}
        command = [str(KUBECTL), "--request-timeout=60s", *words]
        return subprocess.run(command, input=given, capture_output=True, text=True, env=environment, timeout=600)

    def ask(self, *words: str, given: str | None = None) -> str:
        done = self.run(*words, given=given)
        if done.returncode:
            raise Refused(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def rows(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        where = ["-n", namespace] if namespace else ["-A"]
        words = ["get", kind, *where, "-o", "json", *(["-l", selector] if selector else [])]
        found: list[Object] = json.loads(self.ask(*words))["items"]
        return found

    def get(self, kind: str, name: str, namespace: str = "default") -> Object:
        found: Object = json.loads(self.ask("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def apply(self, objects: Iterable[Object]) -> list[Object]:
        """Server-side, with every field checked; the objects as the server has them then."""
        text = "\n---\n".join(json.dumps(row) for row in objects)
        options = ["--server-side", "--force-conflicts", "--validate=strict", f"--field-manager={MANAGER}"]
        found = json.loads(self.ask("apply", *options, "-o", "json", "-f", "-", given=text))
        return list(found["items"]) if found["kind"] == "List" else [found]

    def can(self, account: str, verb: str, resource: str, namespace: str) -> bool:
        done = self.run("auth", "can-i", verb, resource, "-n", namespace, f"--as=system:serviceaccount:{account}")
        return done.stdout.strip() == "yes"

    def events(self, namespace: str, reason: str) -> Sequence[str]:
        return [row.get("message", "") for row in self.rows("events", namespace) if row.get("reason") == reason]


def until(what: str, ask: Callable[[], T], seconds: float = 180) -> T:
    """The first true answer; ClusterError with the last one when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise ClusterError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.5)
