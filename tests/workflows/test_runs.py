"""The workflows, run by act: which targets they make, with which arguments, and what a failure stops or undoes."""

import subprocess
from pathlib import Path

import pytest

from tests.workflows.runner import FOLDER, TOOLS, Run, Runner, available

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=available())]
CHANGED = """environment=dev
targets=["api","worker"]
services={"api":"auth scan","worker":"scan-worker"}
all=auth scan scan-worker
"""
NOTHING = "environment=dev\ntargets=[]\nservices={}\nall=\n"
PUSH = {"ref": "refs/heads/develop", "repository": {"full_name": "mng990/eco2"}}
RELEASE, UNDONE = "1" * 40, "2" * 40
DEPLOYMENT = {"inputs": {"environment": "staging", "revision": "3" * 40, "services": "auth scan"}}


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    found = Runner(tmp_path)
    found.answer("changed", CHANGED)
    found.answer("deploy-promote", f"commit={RELEASE}\n")
    found.answer("deploy-rollback", f"commit={UNDONE}\n")
    return found


def build(runner: Runner, event: str = "push") -> Run:
    given = {"DOCKERHUB_TOKEN": "docker-token", "RELEASE_TOKEN": "release-token", "ARGOCD_TOKEN": "argo-token"}
    payload = PUSH if event == "push" else {"pull_request": {"base": {"ref": "develop"}, "head": {"ref": "topic"}}}
    return runner.run(event, "application-build", payload, **given)


def deploy(runner: Runner) -> Run:
    given = {"RELEASE_TOKEN": "release-token", "ARGOCD_TOKEN": "argo-token", "API_URL": "https://api.example"}
    return runner.run("workflow_dispatch", "application-deploy", DEPLOYMENT, **given)


def test_a_push_builds_and_pushes_each_changed_target_and_deploys_them(runner: Runner) -> None:
    run = build(runner)
    assert run.succeeded, run.log
    assert run.of("changed") == ["changed BRANCH=develop"]
    assert run.of("ci") == ["ci TARGETS=gate"]
    for target in ("image-build", "image-scan"):
        assert sorted(run.of(target)) == [f"{target} TARGET=api", f"{target} TARGET=worker"]
    assert sorted(run.of("image-push")) == [
        "image-push TARGET=api ENVIRONMENT=dev SERVICES=auth scan",
        "image-push TARGET=worker ENVIRONMENT=dev SERVICES=scan-worker",
    ]
    [promoted] = run.of("deploy-promote")
    assert promoted.startswith("deploy-promote ENVIRONMENT=dev SERVICES=auth scan scan-worker REVISION=")
    order = [run.calls.index(call) for name in ("ci", "image-push", "deploy-promote", "smoke") for call in run.of(name)]
    assert order == sorted(order)


@pytest.mark.parametrize("gate", ["ci", "image-scan"])
def test_a_gate_that_fails_lets_nothing_be_pushed(runner: Runner, gate: str) -> None:
    runner.answer(gate, fails=True)
    run = build(runner)
    assert not run.succeeded
    assert run.of(gate)
    assert not run.of("image-push")
    assert not run.of("deploy-promote")


def test_a_push_that_fails_deploys_nothing(runner: Runner) -> None:
    runner.answer("image-push", fails=True)
    run = build(runner)
    assert not run.succeeded
    assert not run.of("deploy-promote")


def test_a_change_of_no_image_builds_and_deploys_nothing(runner: Runner) -> None:
    runner.answer("changed", NOTHING)
    run = build(runner)
    assert run.succeeded, run.log
    assert run.calls == ["tools", "changed BRANCH=develop"]


def test_a_pull_request_is_tested_and_built_and_pushed_nowhere(runner: Runner) -> None:
    run = build(runner, "pull_request")
    assert run.succeeded, run.log
    assert run.of("ci")
    assert sorted(run.of("image-build")) == ["image-build TARGET=api", "image-build TARGET=worker"]
    assert not run.of("image-push")
    assert not run.of("deploy-promote")


def test_a_deployment_is_promoted_waited_for_asked_and_told(runner: Runner) -> None:
    run = deploy(runner)
    assert run.succeeded, run.log
    names = [call.partition(" ")[0] for call in run.calls]
    assert names == ["tools", "deploy-promote", "deploy-wait", "smoke", "deploy-notice"]
    assert f"RELEASE={RELEASE}" in run.of("deploy-wait")[0]
    assert "URL=https://api.example" in run.of("smoke")[0]
    assert "RESULT=success" in run.of("deploy-notice")[0]


@pytest.mark.parametrize("check", ["deploy-wait", "smoke"])
def test_a_check_that_fails_rolls_back_and_tells(runner: Runner, check: str) -> None:
    runner.answer(check, fails=True)
    run = deploy(runner)
    assert not run.succeeded
    [undone] = run.of("deploy-rollback")
    assert f"RELEASE={RELEASE}" in undone
    assert f"RELEASE={UNDONE}" in run.of("deploy-wait")[-1]
    assert "RESULT=failure" in run.of("deploy-notice")[0]
    [told] = run.of("deploy-notice")
    outcome = "failure" if check == "deploy-wait" else "success"  # the stand-in fails each time
    assert f"ROLLBACK=success UNDONE={UNDONE} RESTORED={outcome}" in told


def test_a_rollback_that_changes_nothing_is_not_waited_for(runner: Runner) -> None:
    runner.answer("smoke", fails=True)
    runner.answer("deploy-rollback", "commit=\n")
    run = deploy(runner)
    assert not run.succeeded
    assert len(run.of("deploy-wait")) == 1
    assert "RESTORED=skipped" in run.of("deploy-notice")[0]


def test_a_rollback_that_fails_is_told(runner: Runner) -> None:
    runner.answer("smoke", fails=True)
    runner.answer("deploy-rollback", fails=True)
    run = deploy(runner)
    assert not run.succeeded
    assert "ROLLBACK=failure" in run.of("deploy-notice")[0]


def test_a_promotion_that_fails_has_nothing_to_roll_back(runner: Runner) -> None:
    runner.answer("deploy-promote", fails=True)
    run = deploy(runner)
    assert not run.succeeded
    assert not run.of("deploy-rollback")
    assert "RESULT=failure" in run.of("deploy-notice")[0]


def test_a_release_that_changes_nothing_is_not_waited_for(runner: Runner) -> None:
    runner.answer("deploy-promote", "commit=\n")
    run = deploy(runner)
    assert run.succeeded, run.log
    assert not run.of("deploy-wait")
    assert run.of("deploy-notice")


def test_a_pull_request_plans_every_environment_and_applies_none(runner: Runner) -> None:
    head = {"ref": "topic", "repo": {"full_name": "mng990/eco2"}}
    payload = {"pull_request": {"head": head}, "repository": {"full_name": "mng990/eco2"}}
    run = runner.run("pull_request", "infrastructure", payload)
    assert run.succeeded, run.log
    assert sorted(run.of("infra-plan")) == [f"infra-plan ENVIRONMENT={name}" for name in ("dev", "prod", "staging")]
    assert not run.of("infra-apply")


def test_a_fork_gets_no_plan(runner: Runner) -> None:
    head = {"ref": "topic", "repo": {"full_name": "somebody/eco2"}}
    payload = {"pull_request": {"head": head}, "repository": {"full_name": "mng990/eco2"}}
    run = runner.run("pull_request", "infrastructure", payload)
    assert not run.calls


def test_applying_configures_the_nodes_after_aws(runner: Runner) -> None:
    run = runner.run("workflow_dispatch", "infrastructure", {"inputs": {"environment": "staging"}})
    assert run.succeeded, run.log
    made = [call for call in run.calls if call.startswith("infra")]
    assert made == ["infra-apply ENVIRONMENT=staging", "infra-configure ENVIRONMENT=staging"]


def test_nodes_are_left_alone_where_aws_could_not_be_changed(runner: Runner) -> None:
    runner.answer("infra-apply", fails=True)
    run = runner.run("workflow_dispatch", "infrastructure", {"inputs": {"environment": "dev"}})
    assert not run.succeeded
    assert not run.of("infra-configure")


def test_validation_runs_each_check(runner: Runner) -> None:
    run = runner.run("pull_request", "validate", {"pull_request": {"head": {"ref": "topic"}}})
    assert run.succeeded, run.log
    assert sorted(run.of("ci")) == ["ci TARGETS=setup lint test-deploy", "ci TARGETS=test-infra"]
    assert run.of("test-workflows")


def test_a_night_that_fails_is_told(runner: Runner) -> None:
    runner.answer("audit", fails=True)
    run = runner.run("schedule", "nightly", {})
    assert not run.succeeded
    assert len(run.of("ci")) == 6
    assert run.of("notice")


def test_a_quiet_night_is_not_told(runner: Runner) -> None:
    run = runner.run("schedule", "nightly", {})
    assert run.succeeded, run.log
    assert not run.of("notice")


def test_a_tag_is_published(runner: Runner) -> None:
    run = runner.run("push", "release", {"ref": "refs/tags/v1.2.3"})
    assert run.succeeded, run.log
    assert run.of("release-publish") == ["release-publish"]


def test_the_files_are_clean() -> None:
    if (TOOLS / "actionlint").exists():
        linted = subprocess.run([str(TOOLS / "actionlint")], cwd=FOLDER, capture_output=True, text=True)
        assert linted.returncode == 0, linted.stdout
    audited = subprocess.run([str(TOOLS / "zizmor"), "--offline", str(FOLDER)], capture_output=True, text=True)
    assert audited.returncode == 0, audited.stdout


def test_newer_packages_are_proposed(runner: Runner) -> None:
    run = runner.run("schedule", "updates", {})
    assert run.succeeded, run.log
    assert [call for call in run.calls if call.startswith("lock")] == ["lock-upgrade", "lock-propose"]
