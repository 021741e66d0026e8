"""The files of the workflows: pinned, with no more rights than needed, made of our targets, and documented."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.workflows.runner import CHECKOUT, FOLDER, WORKFLOWS

GUIDE = (CHECKOUT / "docs/guides/delivery.md").read_text()
TEXTS = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.yml"))}
MAKE = re.compile(r"make (?:--silent )?(?P<target>[a-z-]+)(?: >>\"\$GITHUB_OUTPUT\")?")
RIGHTS = {
    ("infrastructure", "plan"): {"contents": "read", "id-token": "write"},
    ("infrastructure", "apply"): {"contents": "read", "id-token": "write"},
    ("application-build", "push"): {"contents": "read", "id-token": "write"},
    ("release", "publish"): {"contents": "write"},
}
"""Of jobs that need more than to read the repository."""


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for workflow, content in WORKFLOWS.items():
        for name, job in content["jobs"].items():
            yield workflow, name, job


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for workflow, name, job in jobs():
        for step in job.get("steps", ()):
            yield f"{workflow}/{name}", step


def test_the_workflows_are_those_of_the_seeds_and_a_nightly_one() -> None:
    seeds = {"infrastructure", "validate", "application-build", "application-deploy"}
    assert WORKFLOWS.keys() == seeds | {"nightly", "release", "updates"}


def test_actions_are_pinned_by_a_commit_with_its_version() -> None:
    pins: dict[str, set[str]] = {}
    for text in TEXTS.values():
        for action in re.findall(r"uses: (?!\./)(.*)", text):
            found = re.fullmatch(r"(?P<name>[\w./-]+)@(?P<pin>[0-9a-f]{40} # v\d+\.\d+\.\d+)", action)
            assert found, action
            pins.setdefault(found["name"], set()).add(found["pin"])
    assert all(len(found) == 1 for found in pins.values()), pins


def test_every_step_is_an_action_or_a_target_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    for place, step in steps():
        if "run" in step:
            found = MAKE.fullmatch(step["run"])
            assert found, f"{place}: {step['run']}"
            assert found["target"] in targets, f"{place}: there is no target {found['target']}"
    named = re.findall(r"(?:TARGETS|targets): (?!\$)([a-z -]+)", "\n".join(TEXTS.values()))
    assert named
    assert {word for words in named for word in words.split()} <= targets


def test_what_a_fresh_machine_lacks_is_installed_first() -> None:
    """`setup` installs Debian packages, so it is for containers (`make ci`), where it has to come first."""
    makefile = (CHECKOUT / "Makefile").read_text()
    needed = dict(re.findall(r"^([a-z-]+):([a-z -]*)##", makefile, re.MULTILINE))
    needed["gate"] = needed["test"]  # which it makes

    def installed(target: str, by: str) -> bool:
        return target == by or any(installed(name, by) for name in needed[target].split())

    for place, step in steps():
        target = MAKE.fullmatch(step.get("run", ""))
        if target:
            assert not installed(target["target"], "setup"), f"{place}: {target['target']}"
    lists = re.findall(r"(?:TARGETS|targets): (?!\$)([a-z -]+)", "\n".join(TEXTS.values()))
    assert [words for words in lists if not installed(words.split()[0], "setup")] == []


def test_jobs_have_no_more_rights_than_they_need_and_an_end() -> None:
    for workflow, name, job in jobs():
        assert job["permissions"] == RIGHTS.get((workflow, name), {"contents": "read"}), f"{workflow}/{name}"
        if "uses" not in job:
            assert 0 < job["timeout-minutes"] <= 180
            assert job["runs-on"] == "ubuntu-24.04"
    assert all(content["permissions"] == {} for content in WORKFLOWS.values())


def test_whoever_runs_a_change_that_is_not_approved_has_no_secret() -> None:
    """Jobs with a secret or an identity run in a GitHub environment, which may ask for an approval and for a branch."""
    for workflow, name, job in jobs():
        inner = yaml.safe_dump({key: value for key, value in job.items() if key != "uses"})
        trusted = "secrets." in inner or job["permissions"].get("id-token") == "write"
        if "uses" not in job and trusted:
            assert job.get("environment"), f"{workflow}/{name}"


def test_a_checkout_keeps_no_credentials() -> None:
    for place, step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, place


def test_terraform_is_that_of_atlantis() -> None:
    versions = {step["with"]["terraform_version"] for _, step in steps() if "setup-terraform" in step.get("uses", "")}
    atlantis = yaml.safe_load((CHECKOUT / "atlantis.yaml").read_text())["projects"]
    assert {f"v{version}" for version in versions} == {row["terraform_version"] for row in atlantis}


@pytest.mark.parametrize("kind", ["secrets", "vars"])
def test_the_guide_lists_every_secret_and_variable_with_who_reads_it(kind: str) -> None:
    read: dict[str, set[str]] = {}
    for workflow, text in TEXTS.items():
        for name in re.findall(rf"\b{kind}\.(\w+)", text):
            read.setdefault(name, set()).add(workflow)
    word = {"secrets": "secret", "vars": "variable"}[kind]
    rows = re.findall(rf"^\| `(\w+)` \| {word} \| ([^|]+) \| ([^|]+) \|", GUIDE, re.MULTILINE)
    assert {name: set(re.findall(r"`([\w-]+)`", workflows)) for name, _, workflows in rows} == read


def test_the_guide_lists_every_environment_of_github() -> None:
    used = {str(job["environment"]) for _, _, job in jobs() if "environment" in job}
    named = {name for name in used if "$" not in name}
    each = {"dev", "staging", "prod", "dev-plan", "staging-plan", "prod-plan"}
    assert {"${{ inputs.environment }}", "${{ matrix.environment }}-plan"} == used - named
    rows = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+) \| [A-Z]", GUIDE, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} == named | each


def test_the_guide_names_every_workflow() -> None:
    assert {name for name in WORKFLOWS if f"`{name}.yml`" not in GUIDE} == set()
