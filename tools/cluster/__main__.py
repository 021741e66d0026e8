"""`make cluster` and `make cluster-down`: a control plane with nodes and objects of an environment, to look around."""

import argparse
import shutil
import sys
from pathlib import Path

from tests.deploy.platform import ENVIRONMENTS, KUBECTL
from tools.cluster import ClusterError, control_plane, waves
from tools.cluster.programs import CHECKOUT, build

FOLDER = CHECKOUT / ".eco2-cluster"


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.cluster", description=__doc__)
    parser.add_argument("action", choices=("build", "up", "down"))
    parser.add_argument("--environment", choices=ENVIRONMENTS, default="dev")
    given = parser.parse_args(words)
    try:
        if given.action == "build":
            build()
        elif given.action == "down":
            print(f"{down()} processes ended")
        else:
            up(given.environment)
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


def up(environment: str) -> None:
    down()
    plane = control_plane.ControlPlane(FOLDER, environment)
    try:
        plane.start()
        found = waves.apply(plane.api, environment)
    except BaseException:
        plane.stop()
        raise
    count = sum(map(len, found.values()))
    print(f"{count} objects of {environment} are applied. No container runs in their Pods, and no operator.")
    print(f"  export KUBECONFIG={plane.api.kubeconfig}")
    print(f"  {_short(KUBECTL)} get nodes,pods -A")
    print("  make cluster-down")


def down() -> int:
    ended = control_plane.stop(FOLDER)
    shutil.rmtree(FOLDER, ignore_errors=True)
    return ended


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
