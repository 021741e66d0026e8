"""Releases on a real repository: a bare one on this disk, with the overlays of this checkout."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from typer.testing import CliRunner

from eco2.cli.main import app
from eco2.release import repository, services
from eco2.release.repository import ReleaseError

CHECKOUT = Path(__file__).parents[2]


def git(folder: Path, *arguments: str) -> str:
    command = ["git", *repository.AUTHOR, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


LAST = repository._last


class Remote:
    """A bare repository, and a clone in which people work."""

    def __init__(self, folder: Path) -> None:
        self.address, self.work = str(folder / "remote.git"), folder / "work"
        self.work.mkdir()
        git(self.work, "init", "--quiet", "--initial-branch", "main")
        for pattern in (
            "workloads/domains/*/*/kustomization.yaml",
            "workloads/migrations/*/kustomization.yaml",
            "clusters/*/apps/1[34]-ist*.yaml",
        ):
            for path in CHECKOUT.glob(pattern):
                (copy := self.work / path.relative_to(CHECKOUT)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
        self.commit("The first state")
        git(folder, "clone", "--quiet", "--bare", str(self.work), self.address)
        git(self.work, "remote", "add", "origin", self.address)
        git(self.work, "push", "--quiet", "origin", "main:develop")

    def commit(self, title: str) -> str:
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", title)
        return git(self.work, "rev-parse", "HEAD")

    def change(self, title: str = "A change") -> str:
        """Another developer's commit on main, from which images are built then."""
        git(self.work, "pull", "--quiet", "--rebase", "origin", "main")
        revision = self.commit(title)
        git(self.work, "push", "--quiet", "origin", "HEAD:main")
        return revision

    def tags(self, environment: str) -> dict[str, str]:
        with repository.clone(self.address, environment) as folder:
            return repository.tags(folder, environment)

    def files(self) -> str:
        return git(Path(self.address), "ls-tree", "-r", "main")


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(tmp_path)


def test_every_service_has_a_tag_in_every_environment(remote: Remote) -> None:
    names = {service.name for service in services.services()}
    assert [remote.tags(environment).keys() for environment in repository.ENVIRONMENTS] == [names] * 3


def test_a_promotion_is_one_commit_that_changes_one_environment(remote: Remote) -> None:
    revision, before = remote.change(), remote.tags("prod")
    release = repository.promote(remote.address, "staging", ["scan", "scan-worker"], revision)
    assert [change.service for change in release.changes] == ["scan", "scan-worker"]
    now = remote.tags("staging")
    assert (now["scan"], now["scan-worker"], now["my"]) == (revision[:12], revision[:12], before["my"])
    assert remote.tags("prod") == before
    changed = git(Path(remote.address), "show", "--format=", "--name-only", "main").splitlines()
    assert changed == ["workloads/domains/scan/staging/kustomization.yaml"]
    assert git(Path(remote.address), "rev-parse", "main") == release.commit
    assert repository.promote(remote.address, "staging", ["scan", "scan-worker"], revision) == repository.Release(
        "", ()
    )


def test_a_plan_says_what_a_promotion_does_and_changes_nothing(remote: Remote) -> None:
    revision, before = remote.change(), remote.files()
    with repository.clone(remote.address, "staging") as folder:
        planned = repository.plan(folder, "staging", [], revision)
    assert remote.files() == before
    assert repository.promote(remote.address, "staging", [], revision).changes == planned


def test_production_takes_what_staging_runs_and_the_schema_goes_first(remote: Remote) -> None:
    revision = remote.change()
    repository.promote(remote.address, "staging", ["scan", "chat", "migrations"], revision)
    release = repository.promote(remote.address, "prod", ["scan"])
    assert [change.service for change in release.changes] == ["migrations", "scan"]
    assert [change.service for change in repository.promote(remote.address, "prod").changes] == ["chat"]
    assert remote.tags("prod") == remote.tags("staging")


def test_promotions_at_the_same_time_all_arrive(remote: Remote) -> None:
    revision = remote.change()
    names = ["scan", "chat", "my", "auth", "info", "location"]
    with ThreadPoolExecutor(len(names)) as pool:
        waiting = [pool.submit(repository.promote, remote.address, "staging", [name], revision) for name in names]
        commits = {one.result().commit for one in waiting}
    assert len(commits) == len(names)
    now = remote.tags("staging")
    assert {now[name] for name in names} == {revision[:12]}
    parents = git(Path(remote.address), "log", "--format=%P", f"-{len(names)}", "main").splitlines()
    assert all(len(line.split()) == 1 for line in parents)


def test_an_older_revision_is_no_promotion(remote: Remote) -> None:
    older, newer = remote.change("one"), remote.change("two")
    repository.promote(remote.address, "staging", ["scan"], newer)
    with pytest.raises(ReleaseError, match="rollback staging"):
        repository.promote(remote.address, "staging", ["scan"], older)


def test_rolling_back_undoes_release_after_release_and_leaves_the_schema(remote: Remote) -> None:
    first, one, two = remote.tags("staging"), remote.change("one"), remote.change("two")
    repository.promote(remote.address, "staging", ["scan", "chat", "migrations"], one)
    repository.promote(remote.address, "staging", ["scan", "migrations"], two)
    repository.rollback(remote.address, "staging")
    now = remote.tags("staging")
    assert (now["scan"], now["chat"], now["migrations"]) == (one[:12], one[:12], two[:12])
    repository.rollback(remote.address, "staging")
    now = remote.tags("staging")
    assert (now["scan"], now["chat"], now["migrations"]) == (first["scan"], first["chat"], two[:12])
    with pytest.raises(ReleaseError, match="no release of staging"):
        repository.rollback(remote.address, "staging")


def test_two_rollbacks_of_one_release_at_the_same_time_undo_that_one(remote: Remote) -> None:
    one, two = remote.change("one"), remote.change("two")
    repository.promote(remote.address, "staging", ["scan"], one)
    repository.promote(remote.address, "staging", ["scan"], two)
    begun = Barrier(2)

    def last(folder: Path, environment: str) -> str:
        found = LAST(folder, environment)
        begun.wait(60)  # both have chosen before either pushes
        return found

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(repository, "_last", last)
        done = list(pool.map(lambda _: repository.rollback(remote.address, "staging"), range(2)))
    # Within the same second both make the very same commit, and both have pushed it then.
    assert sorted(len(release.changes) for release in done) in ([0, 1], [1, 1])
    assert git(Path(remote.address), "log", "main", "--format=%B").count("Release-Undoes:") == 1
    assert remote.tags("staging")["scan"] == one[:12]


def test_a_release_of_the_migrations_alone_is_passed_over_by_a_rollback(remote: Remote) -> None:
    first, one, two = remote.tags("staging"), remote.change("one"), remote.change("two")
    repository.promote(remote.address, "staging", ["scan"], one)
    repository.promote(remote.address, "staging", ["migrations"], two)
    repository.rollback(remote.address, "staging")
    assert remote.tags("staging")["scan"] == first["scan"]


def test_a_rollback_leaves_what_somebody_released_meanwhile(remote: Remote) -> None:
    first, one, two = remote.tags("staging"), remote.change("one"), remote.change("two")
    failed = repository.promote(remote.address, "staging", ["scan", "chat"], one)
    repository.promote(remote.address, "staging", ["chat"], two)
    release = repository.rollback(remote.address, "staging", failed.commit)
    assert [change.service for change in release.changes] == ["scan"]
    now = remote.tags("staging")
    assert (now["scan"], now["chat"]) == (first["scan"], two[:12])


@pytest.mark.parametrize(
    ("environment", "names", "revision", "told"),
    [
        ("production", [], "main", "no environment 'production'"),
        ("prod", ["scans"], "", "no service scans"),
        ("staging", [], "", "--revision"),
        ("dev", [], "0123456789", "git rev-parse"),
    ],
)
def test_what_cannot_be_released_is_told(
    remote: Remote, environment: str, names: list[str], revision: str, told: str
) -> None:
    before = remote.files()
    with pytest.raises(ReleaseError, match=told):
        repository.promote(remote.address, environment, names, revision)
    assert remote.files() == before


def istiod(remote: Remote, environment: str, version: str) -> None:
    git(remote.work, "pull", "--quiet", "--rebase", "origin", "main")
    path = remote.work / f"clusters/{environment}/apps/13-istiod.yaml"
    path.write_text(path.read_text().replace("1.31.0", version))
    remote.commit("A newer istiod")
    git(remote.work, "push", "--quiet", "origin", "HEAD:main")


def gateway(remote: Remote, environment: str) -> str:
    with repository.clone(remote.address, environment) as folder:
        text = (folder / f"clusters/{environment}/apps/14-istio-gateway.yaml").read_text()
        found = repository.state(folder, environment)["gateway"]
    assert text.count(found) == 2, "the chart and the proxy are of one version"
    return found


def test_the_gateway_goes_to_a_version_and_back_by_commits(remote: Remote) -> None:
    for environment in ("staging", "prod"):
        istiod(remote, environment, "1.31.4")
    release = repository.promote(remote.address, "staging", ["gateway"], "1.31.3")
    assert [str(change) for change in release.changes] == ["gateway: 1.31.0 → 1.31.3"]
    assert (gateway(remote, "staging"), gateway(remote, "prod")) == ("1.31.3", "1.31.0")
    changed = git(Path(remote.address), "show", "--format=", "--name-only", "main").splitlines()
    assert changed == ["clusters/staging/apps/14-istio-gateway.yaml"]
    with repository.clone(remote.address, "staging") as folder:
        assert repository.released(folder, "staging", release.commit) == {"gateway": "1.31.3"}
    assert repository.promote(remote.address, "prod").changes == (), "the gateway goes where it is named alone"
    repository.promote(remote.address, "prod", ["gateway"])
    assert gateway(remote, "prod") == "1.31.3"
    repository.rollback(remote.address, "prod")
    repository.rollback(remote.address, "staging", release.commit)
    assert (gateway(remote, "staging"), gateway(remote, "prod")) == ("1.31.0", "1.31.0")


def test_the_gateway_and_a_service_are_released_at_the_same_time(remote: Remote) -> None:
    istiod(remote, "staging", "1.31.4")
    revision = remote.change()
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(repository.promote, remote.address, "staging", [name], to)
            for name, to in (("gateway", "1.31.4"), ("scan", revision))
        ]
        assert all(one.result().commit for one in both)
    assert (gateway(remote, "staging"), remote.tags("staging")["scan"]) == ("1.31.4", revision[:12])


@pytest.mark.parametrize(
    ("environment", "names", "version", "told"),
    [
        ("staging", ["gateway"], "1.32.0", "istiod 1.31.0, which goes first"),
        ("staging", ["gateway"], "main", "no version of Istio's chart"),
        ("staging", ["gateway"], "", "--revision"),
        ("staging", ["gateway", "scan"], "1.31.0", "by itself"),
        ("staging", ["gateway"], "1.30.2", "rollback staging"),
    ],
)
def test_a_gateway_that_cannot_be_is_refused(
    remote: Remote, environment: str, names: list[str], version: str, told: str
) -> None:
    before = remote.files()
    with pytest.raises(ReleaseError, match=told):
        repository.promote(remote.address, environment, names, version)
    assert remote.files() == before


def test_a_change_concerns_the_services_that_import_it() -> None:
    def names(*paths: str) -> set[str]:
        return {service.name for service in services.changed(paths)}

    everything = {service.name for service in services.services()}
    assert names("README.md", "docs/guides/operator.md", "tests/unit/test_release.py") == set()
    assert names("Dockerfile") == everything
    assert names("migrations/versions/0001_scan_image_character.py") == {"migrations"}
    assert names("eco2/ext_authz/main.py") == {"auth"}
    assert names("eco2/chat/agent/graph.py") == {"chat-worker"}
    assert names("requirements/batch.txt") == {"jobs-batch", "migrations"}
    for path in ("web/src/pages/map.tsx", "web/package-lock.json", "scripts/web", "requirements/node.txt"):
        assert names(path) == {"web"}, path
    assert names("docs/api/openapi.json") == {"info", "web"}
    assert names("eco2/jobs/templates/report.html") <= {"jobs", "jobs-batch"}


def test_images_are_compared_with_what_the_environment_runs(remote: Remote) -> None:
    everything = [service.name for service in services.services()]

    def outdated() -> list[str]:
        return [service.name for service in repository.outdated(remote.work, "staging")]

    assert outdated() == everything  # of the first state nobody knows from which commit it is
    revision = remote.change()
    repository.promote(remote.address, "staging", revision=revision)
    git(remote.work, "pull", "--quiet", "origin", "main")
    assert outdated() == []  # the release itself changes no image
    (remote.work / "migrations").mkdir()
    (remote.work / "migrations/new.py").touch()
    remote.change("A migration")
    assert outdated() == ["migrations"]
    (remote.work / "Dockerfile").touch()
    remote.change("The image")
    assert outdated() == everything


def test_what_was_taken_back_is_not_built_again_before_it_changes(remote: Remote) -> None:
    def outdated() -> list[str]:
        git(remote.work, "pull", "--quiet", "--rebase", "origin", "main")
        return [service.name for service in repository.outdated(remote.work, "staging")]

    def touched(path: str) -> str:
        git(remote.work, "pull", "--quiet", "--rebase", "origin", "main")
        (remote.work / path).parent.mkdir(parents=True, exist_ok=True)
        with (remote.work / path).open("a") as file:
            file.write("more\n")
        revision = remote.commit("A change")
        git(remote.work, "push", "--quiet", "origin", "HEAD:main")
        return revision

    repository.promote(remote.address, "staging", revision=touched("Dockerfile"))
    for revision in (touched("eco2/chat/agent/graph.py"), touched("eco2/chat/agent/graph.py")):
        assert outdated() == ["chat-worker"]
        repository.promote(remote.address, "staging", ["chat-worker"], revision)
    repository.rollback(remote.address, "staging")
    assert outdated() == []
    repository.rollback(remote.address, "staging")
    assert outdated() == []  # the newest of both is the one at HEAD
    touched("migrations/new.py")
    assert outdated() == ["migrations"]
    touched("eco2/chat/agent/graph.py")
    assert outdated() == ["chat-worker", "migrations"]


def test_images_of_a_branch_are_built_for_the_environment_that_takes_them_first() -> None:
    assert [repository.built_for(branch) for branch in ("develop", "main", "topic")] == ["dev", "staging", "dev"]


def test_a_workflow_is_given_the_commit_alone(remote: Remote) -> None:
    revision = remote.change()
    words = ["--remote", remote.address, "--outputs"]
    promoted = CliRunner().invoke(app, ["release", "promote", "staging", "--revision", revision, *words])
    commit = git(Path(remote.address), "rev-parse", "main")
    assert promoted.stdout == f"commit={commit}\n"
    assert "scan: 0.1.0 → " in promoted.stderr
    again = CliRunner().invoke(app, ["release", "promote", "staging", "--revision", revision, *words])
    assert again.stdout == "commit=\n"
    undone = CliRunner().invoke(app, ["release", "rollback", "staging", "--release", commit, *words])
    assert undone.stdout == f"commit={git(Path(remote.address), 'rev-parse', 'main')}\n"
