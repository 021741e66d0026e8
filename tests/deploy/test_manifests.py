"""`make manifests` writes the folders that are missing as they stand in this checkout."""

import shutil
from pathlib import Path

from tests.deploy import platform as rendering
from tools import manifests

BUILDS = [Path(domain) / environment for domain in ("my", "sse", "scan") for environment in ("dev", "prod")]


def builds(domains: Path) -> list[dict[str, rendering.Object]]:
    found = [rendering._build(domains / folder) for folder in BUILDS]
    return [{rendering.title(item): item for item in objects if not isinstance(item, str)} for objects in found]


def test_a_missing_process_and_a_missing_domain_are_written_again(tmp_path: Path) -> None:
    domains = tmp_path / "domains"
    shutil.copytree(manifests.DOMAINS, domains)
    before = builds(domains)
    shutil.rmtree(domains / "my")
    for process in ("sse/base/event-router", "scan/base/scan-sweeper"):
        folder = domains / process
        shutil.rmtree(folder)
        listing = folder.parent / "kustomization.yaml"
        listing.write_text(listing.read_text().replace(f"  - {folder.name}\n", ""))
    made = manifests.write(domains)
    assert {folder.name for folder in made} == {"my-api", "event-router", "scan-sweeper"}
    assert builds(domains) == before


def test_what_exists_is_left_alone(tmp_path: Path) -> None:
    domains = tmp_path / "domains"
    shutil.copytree(manifests.DOMAINS, domains)
    assert manifests.write(domains) == []
