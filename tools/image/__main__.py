"""`make image`, and the steps of it that a workflow takes one by one."""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from eco2 import __version__
from eco2.release.repository import BEFORE, BRANCHES
from tools.image import look, push, start
from tools.image.build import (
    CHECKOUT,
    LAYOUTS,
    TARGETS,
    Unavailable,
    build,
    buildah,
    check_means,
    make_base,
    pull_base,
    storage,
)

HELP = """Without a command: build every target on a base made of Debian's packages, look into it, and start every
process from it (as root, several minutes, 8 GB for a while). Bills of materials: build/sbom. Logs: build/logs."""


def main() -> None:
    arguments = _parser().parse_args()
    try:
        found = arguments.run(arguments)
    except Unavailable as reason:
        sys.exit(f"tools.image: {reason}")
    for sentence in found:
        print(f"FAULT {sentence}", file=sys.stderr)
    if found:
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tools.image", description=HELP)
    parser.set_defaults(run=_everything)
    commands = parser.add_subparsers(title="commands of the workflows", metavar="COMMAND")
    for name, run, text in (
        ("build", _build, "build one target on the base of the Dockerfile, from its registry, into build/oci/TARGET"),
        (
            "scan",
            _scan,
            "look for known vulnerabilities in build/oci/TARGET, which needs trivy's data from the network",
        ),
        ("push", _push, "push build/oci/TARGET under the tags of its services, sign it, attach its bill of materials"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("target", choices=TARGETS)
        command.set_defaults(run=run)
        if name == "push":
            command.add_argument("--service", action="append", required=True, help="as tags name it; may be repeated")
            command.add_argument("--environment", choices=BRANCHES, required=True)
            command.add_argument("--repository", default=push.REPOSITORY, help="default: %(default)s")
    return parser


def _everything(_: argparse.Namespace) -> list[str]:
    check_means()
    with storage():
        begun = time.monotonic()
        base = make_base()
        print(f"base: Debian, {time.monotonic() - begun:.0f} s", flush=True)
        found, containers = look.of_the_dockerfile(), {}
        for target in TARGETS:
            containers[target], faults = _one(target, base)
            found += faults
        if not found:
            found += asyncio.run(start.faults(containers))
    if not found:
        print("make image: every process started from its image, and ended when it was told to")
    return found


def _one(target: str, base: str) -> tuple[str, list[str]]:
    """A container of the built target, and what is wrong with it."""
    begun = time.monotonic()
    image = build(target, base, push.revision(), __version__)
    print(f"{target}: built in {time.monotonic() - begun:.0f} s", flush=True)
    container = buildah("from", "--name", f"eco2-{target}", image)
    root = Path(buildah("mount", container))
    file, missing = look.bill_of_materials(target, root)
    print(f"  bill of materials: {file.relative_to(CHECKOUT)}")
    sentences = [*look.faults(target, image, root, container), *look.secrets(root)]
    sentences += [f"the bill of materials leaves out {name}" for name in missing]
    return container, [f"{target}: {sentence}" for sentence in sentences]


def _build(arguments: argparse.Namespace) -> list[str]:
    check_means("debootstrap")
    with storage():
        found = look.of_the_dockerfile() + _one(arguments.target, pull_base())[1]
    print(f"image: {(LAYOUTS / arguments.target).relative_to(CHECKOUT)}")
    return found


def _scan(arguments: argparse.Namespace) -> list[str]:
    return look.vulnerabilities(LAYOUTS / arguments.target)


def _push(arguments: argparse.Namespace) -> list[str]:
    # An environment that takes over another one's images finds them under its own tags.
    later = [name for name, before in BEFORE.items() if before == arguments.environment]
    push.push(arguments.target, arguments.service, [arguments.environment, *later], arguments.repository)
    return []


if __name__ == "__main__":
    main()
