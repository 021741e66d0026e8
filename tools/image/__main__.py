"""`make image`: build every target, look into it, start every process from it. Bills of materials: build/sbom."""

import asyncio
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from tools.image import look, start
from tools.image.build import CHECKOUT, TARGETS, Unavailable, build, buildah, check_means, make_base, storage


def main() -> None:
    try:
        check_means()
        with storage():
            found = _all()
    except Unavailable as reason:
        sys.exit(f"make image: {reason}")
    for sentence in found:
        print(f"FAULT {sentence}", file=sys.stderr)
    if found:
        sys.exit(1)
    print("make image: every process started from its image")


def _all() -> list[str]:
    begun = time.monotonic()
    make_base()
    print(f"base: Debian, {time.monotonic() - begun:.0f} s", flush=True)
    found, containers = look.of_the_dockerfile(), {}
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    for target in TARGETS:
        begun = time.monotonic()
        image = build(target, _revision(), version)
        print(f"{target}: built in {time.monotonic() - begun:.0f} s", flush=True)
        containers[target] = container = buildah("from", "--name", f"eco2-{target}", image)
        root = Path(buildah("mount", container))
        file, missing = look.bill_of_materials(target, root)
        print(f"  bill of materials: {file.relative_to(CHECKOUT)}")
        sentences = [*look.faults(target, image, root, container), *look.secrets(root)]
        sentences += [f"the bill of materials leaves out {name}" for name in missing]
        found += [f"{target}: {sentence}" for sentence in sentences]
    if not found:
        found += asyncio.run(start.faults(containers))
    return found


def _revision() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
