"""Pushes a built target under the tags of its services. Tags never move; a second push of a revision changes nothing.

Signs without a key: cosign takes the identity of the workflow, which GitHub vouches for (docs/guides/delivery.md)."""

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.image.build import CHECKOUT, LAYOUTS, Unavailable
from tools.image.look import sbom_of

REPOSITORY = "docker.io/mng990/eco2"
USER, TOKEN = "DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN"
ABSENT = ("manifest unknown", "name unknown", "not found")
"""In skopeo's words: the registry answered, and has no such tag."""


def revision() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def tags(services: Sequence[str], environments: Sequence[str], commit: str) -> list[str]:
    return [f"{service}-{environment}-{commit[:12]}" for service in services for environment in environments]


def push(target: str, services: Sequence[str], environments: Sequence[str], repository: str) -> None:
    layout = LAYOUTS / target
    if not (layout / "index.json").exists():
        raise Unavailable(f"{layout.relative_to(CHECKOUT)} is not there: build it first")
    wanted = tags(services, environments, revision())
    with _logged_in(repository) as environment:
        there = {tag: _digest(f"{repository}:{tag}", environment) for tag in wanted}
        # Layers are compressed anew by each build: all tags of a revision name the image that was pushed first.
        digest = next(filter(None, there.values()), "")
        source = f"docker://{repository}@{digest}" if digest else f"oci:{layout}"
        for tag in wanted:
            if there[tag]:
                print(f"{tag} is there already")
                continue
            _run(environment, "skopeo", "copy", "--quiet", "--preserve-digests", source, f"docker://{repository}:{tag}")
            digest = digest or _digest(f"{repository}:{tag}", environment)
            source = f"docker://{repository}@{digest}"
            print(f"pushed {tag}", flush=True)
        if not digest:
            raise Unavailable(f"{repository} does not have what was pushed a moment ago")
        name = f"{repository}@{digest}"
        _run(environment, "cosign", "sign", "--yes", name)
        predicate = ("--type", "cyclonedx", "--predicate", str(sbom_of(target)))
        _run(environment, "cosign", "attest", "--yes", *predicate, name)
    print(f"signed {name}")


@contextmanager
def _logged_in(repository: str) -> Iterator[Mapping[str, str]]:
    """Environment in which skopeo and cosign know the account; nothing of it stays on the disk."""
    user, token = os.environ.get(USER), os.environ.get(TOKEN)
    if not user or not token:
        raise Unavailable(f"set {USER} and {TOKEN}, of an account that may push to {repository}")
    with tempfile.TemporaryDirectory(prefix="eco2-push-") as folder:
        file = Path(folder) / "config.json"
        registry = repository.partition("/")[0]
        # cosign looks for Docker Hub under its old address, skopeo under either.
        names = (registry, "https://index.docker.io/v1/") if registry == "docker.io" else (registry,)
        secret = base64.b64encode(f"{user}:{token}".encode()).decode()
        file.touch(mode=0o600)
        file.write_text(json.dumps({"auths": {name: {"auth": secret} for name in names}}))
        given = {name: value for name, value in os.environ.items() if name not in (USER, TOKEN)}
        yield {**given, "DOCKER_CONFIG": folder, "REGISTRY_AUTH_FILE": str(file)}


def _digest(name: str, environment: Mapping[str, str]) -> str:
    """Empty where the registry has no such tag."""
    command = ["skopeo", "inspect", "--no-tags", f"docker://{name}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return str(json.loads(done.stdout)["Digest"])
    if any(word in done.stderr for word in ABSENT):
        return ""
    raise Unavailable(f"skopeo inspect {name}: {done.stderr.strip()}")


def _run(environment: Mapping[str, str], *command: str) -> None:
    if subprocess.run(command, env=environment).returncode:
        raise Unavailable(f"{command[0]} {command[1]} failed: its last lines above say why")
