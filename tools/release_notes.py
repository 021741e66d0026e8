"""The version of the checkout, and what CHANGELOG.md says of it: the notes of a release on GitHub.

A release is a tag `vX.Y.Z`, on a commit whose eco2/__init__.py has that version, and whose CHANGELOG.md a heading
`## X.Y.Z`."""

import argparse
import re
import sys
from pathlib import Path

from eco2 import __version__

CHECKOUT = Path(__file__).parents[1]


def notes(tag: str, version: str, changelog: str) -> str:
    """The section of the tag's version. ValueError: the tag, the version and the text of CHANGELOG.md do not agree."""
    wanted = tag.removeprefix("v")
    if tag != f"v{wanted}" or not re.fullmatch(r"\d+\.\d+\.\d+", wanted):
        raise ValueError(f"{tag} is no tag of a release, which is v and a version such as v1.2.3")
    if version != wanted:
        raise ValueError(f"{tag} is on a commit that says in eco2/__init__.py to be {version}")
    found = re.search(rf"^## {re.escape(wanted)}\b[^\n]*\n(?P<section>.*?)(?=^## |\Z)", changelog, re.M | re.S)
    section = found["section"].strip() if found else ""
    if not section:
        raise ValueError(f"CHANGELOG.md says nothing under a heading `## {wanted}`")
    return section + "\n"


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.release_notes", description="Print the notes of a release.")
    parser.add_argument("tag", help="such as v1.2.3")
    try:
        print(notes(parser.parse_args().tag, __version__, (CHECKOUT / "CHANGELOG.md").read_text()), end="")
    except ValueError as error:
        sys.exit(f"release notes: {error}")


if __name__ == "__main__":
    main()
