"""Targets that the workflows make: notes of a release, the last release, audited locks, pushed tags, Debian."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from eco2 import __version__
from tools import audit, last_release, release_notes
from tools.image import build, look, push

CHECKOUT = Path(__file__).parents[2]
CHANGELOG = """# Changelog

## Unreleased

- Not yet.

## 1.2.3 (2026-12-01)

- A thing.
- Another.

## 1.2.2

- Before.
"""


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t.invalid", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


# --- a version --------------------------------------------------------------------------------------------------------


def test_the_notes_of_a_release_are_its_section() -> None:
    assert release_notes.notes("v1.2.3", "1.2.3", CHANGELOG) == "- A thing.\n- Another.\n"
    assert release_notes.notes("v1.2.2", "1.2.2", CHANGELOG) == "- Before.\n"


@pytest.mark.parametrize(
    ("tag", "version", "reason"),
    [
        ("v1.2.3", "1.2.4", "says in eco2/__init__.py to be 1.2.4"),
        ("1.2.3", "1.2.3", "no tag of a release"),
        ("v1.2", "1.2", "no tag of a release"),
        ("v1.2.4", "1.2.4", "says nothing under a heading `## 1.2.4`"),
    ],
)
def test_a_tag_that_does_not_agree_is_refused(tag: str, version: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        release_notes.notes(tag, version, CHANGELOG)


def test_the_version_is_one() -> None:
    assert 'version = { attr = "eco2.__version__" }' in (CHECKOUT / "pyproject.toml").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_last_release_is_the_newest_version_before_this_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "One")
    assert last_release.last_release(tmp_path) == last_release.WITHOUT_TAG
    for tag in ("v1.9.0", "v1.10.0"):
        git(tmp_path, "tag", tag)
        git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "Another")
    assert last_release.last_release(tmp_path) == "v1.10.0"
    git(tmp_path, "tag", "v2.0.0")
    assert last_release.last_release(tmp_path) == "v1.10.0"


def test_the_tests_of_the_last_release_are_there_today() -> None:
    """Update the list after a move, once the last release has it as well."""
    assert [name for name in last_release.TESTS if not (CHECKOUT / name).exists()] == []


# --- locks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", [name for name in audit.LOCKS if name.endswith(("requirements", ".txt"))])
def test_the_audit_reads_everything_that_is_locked(lock: str) -> None:
    path = CHECKOUT / lock
    texts = [file.read_text() for file in (path.glob("*.txt") if path.is_dir() else [path])]
    locked = {row.lower() for text in texts for row in re.findall(r"^([\w.-]+==[^\s;]+)", text, re.MULTILINE)}
    assert locked
    assert locked <= audit.packages(lock)


def test_no_lock_is_left_out_of_the_audit() -> None:
    listed = git(CHECKOUT, "ls-files", "*requirements.txt", "requirements/*.txt", "*package-lock.json").splitlines()
    assert [file for file in listed if not file.startswith(audit.LOCKS)] == []


# --- images -----------------------------------------------------------------------------------------------------------


class Registry:
    """Stand-ins for skopeo and cosign: tags are files, and every call is noted."""

    def __init__(self, folder: Path) -> None:
        self.tags, self.calls = folder / "tags", folder / "calls"
        self.tags.mkdir()
        self.calls.touch()
        (folder / "bin").mkdir()
        self._program(
            "skopeo",
            f"""
name=$(printf '%s' "$last" | sed 's/.*eco2://')
case $1 in
  inspect)
    [ ! -e {folder}/down ] || {{ echo 'i/o timeout' >&2; exit 1; }}
    [ -e {self.tags}/"$name" ] || {{ echo 'reading manifest: manifest unknown' >&2; exit 1; }}
    printf '{{"Digest": "sha256:%s"}}' "$(cat {self.tags}/"$name")" ;;
  copy) echo abc >{self.tags}/"$name"; cat "$REGISTRY_AUTH_FILE" >{folder}/auth ;;
esac""",
        )
        self._program("cosign", "")

    def _program(self, name: str, text: str) -> None:
        path = self.tags.parent / "bin" / name
        note = f"printf '%s\\n' \"{name} $*\" >>{self.calls}"
        path.write_text(f'#!/bin/sh\nfor last in "$@"; do :; done\n{note}{text}\n')
        path.chmod(0o755)

    def told(self, *words: str) -> list[str]:
        return [line for line in self.calls.read_text().splitlines() if line.startswith(words)]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    found = Registry(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv(push.USER, "somebody")
    monkeypatch.setenv(push.TOKEN, "a-token-of-docker-hub")
    monkeypatch.setattr(push, "LAYOUTS", tmp_path / "oci")
    monkeypatch.setattr(push, "CHECKOUT", tmp_path)
    monkeypatch.setattr(push, "revision", lambda: "0123456789abcdef")
    (tmp_path / "oci/api").mkdir(parents=True)
    (tmp_path / "oci/api/index.json").touch()
    return found


SCAN = ["scan-staging-0123456789ab", "scan-prod-0123456789ab"]


def test_a_target_is_pushed_once_and_tagged_for_every_service_and_environment(registry: Registry) -> None:
    push.push("api", ["scan", "auth"], ["staging", "prod"], push.REPOSITORY)
    tags = {f"{name}-{environment}-0123456789ab" for name in ("scan", "auth") for environment in ("staging", "prod")}
    assert {path.name for path in registry.tags.iterdir()} == tags
    copies = registry.told("skopeo copy")
    assert [("oci:" in line) for line in copies] == [True, False, False, False]
    assert all(f"docker://{push.REPOSITORY}@sha256:abc " in line for line in copies[1:])
    assert registry.told("cosign sign") == [f"cosign sign --yes {push.REPOSITORY}@sha256:abc"]
    assert "--type cyclonedx" in registry.told("cosign attest")[0]


def test_tags_do_not_move_and_a_push_that_broke_off_goes_on_with_the_same_image(registry: Registry) -> None:
    (registry.tags / SCAN[0]).write_text("first")
    push.push("api", ["scan"], ["staging", "prod"], push.REPOSITORY)
    assert (registry.tags / SCAN[0]).read_text() == "first"
    [copied] = registry.told("skopeo copy")
    assert f"docker://{push.REPOSITORY}@sha256:first" in copied
    assert registry.told("cosign sign") == [f"cosign sign --yes {push.REPOSITORY}@sha256:first"]


def test_the_token_is_in_no_command_and_not_left_behind(registry: Registry) -> None:
    push.push("api", ["scan"], ["dev"], push.REPOSITORY)
    assert "a-token-of-docker-hub" not in registry.calls.read_text()
    given = json.loads((registry.tags.parent / "auth").read_text())["auths"]
    assert given.keys() == {"docker.io", "https://index.docker.io/v1/"}


def test_a_registry_that_does_not_answer_is_not_taken_for_an_empty_one(registry: Registry) -> None:
    (registry.tags.parent / "down").touch()
    with pytest.raises(build.Unavailable, match="i/o timeout"):
        push.push("api", ["scan"], ["dev"], push.REPOSITORY)
    assert not registry.told("skopeo copy")


def test_nothing_is_pushed_that_was_not_built(registry: Registry) -> None:
    with pytest.raises(build.Unavailable, match="build it first"):
        push.push("worker", ["scan-worker"], ["dev"], push.REPOSITORY)


def test_the_compressed_size_is_that_of_the_layers(tmp_path: Path) -> None:
    manifest = {"layers": [{"size": 3_000_000}, {"size": 500_000}]}
    (tmp_path / "blobs/sha256").mkdir(parents=True)
    (tmp_path / "blobs/sha256/m").write_text(json.dumps(manifest))
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [{"digest": "sha256:m"}]}))
    assert look.compressed_size_of(tmp_path) == 3.5


# --- Debian -----------------------------------------------------------------------------------------------------------


def in_debian(folder: Path, release: str, *command: str, engine: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "release").write_text(release)
    (folder / "bin").mkdir(exist_ok=True)
    for name in ("dirname", "grep", "sh", "echo"):
        if not (folder / "bin" / name).exists():
            (folder / "bin" / name).symlink_to(f"/bin/{name}")
    if engine:
        (folder / "bin" / engine).write_text("#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done\n")
        (folder / "bin" / engine).chmod(0o755)
    given = {"PATH": str(folder / "bin"), "OS_RELEASE": str(folder / "release")}
    return subprocess.run([CHECKOUT / "scripts/in-debian", *command], env=given, capture_output=True, text=True)


UBUNTU = 'ID=ubuntu\nVERSION_ID="24.04"\n'


def test_on_debian_12_a_command_runs_as_it_is(tmp_path: Path) -> None:
    done = in_debian(tmp_path, 'ID=debian\nVERSION_ID="12"\n', "echo", "here", engine="podman")
    assert done.stdout == "here\n"


def test_elsewhere_it_runs_in_a_container_of_debian(tmp_path: Path) -> None:
    done = in_debian(tmp_path, UBUNTU, "make", "lint test", engine="docker")
    words = done.stdout.splitlines()
    assert words[1:3] == ["run", "--rm"]
    assert "docker.io/library/debian:bookworm" in words
    assert words[-2:] == ["make", "lint test"]
    assert f"{CHECKOUT}:{CHECKOUT}" in words


def test_without_an_engine_it_says_so(tmp_path: Path) -> None:
    done = in_debian(tmp_path, UBUNTU, "make")
    assert done.returncode == 1
    assert "neither podman nor docker" in done.stderr


# --- proposals --------------------------------------------------------------------------------------------------------


def test_newer_locks_become_one_pull_request_that_is_updated(tmp_path: Path) -> None:
    work, remote, calls = tmp_path / "work", tmp_path / "remote.git", tmp_path / "calls"
    (work / "scripts").mkdir(parents=True)
    (work / "scripts/propose").write_text((CHECKOUT / "scripts/propose").read_text())
    (work / "lock").write_text("1")
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(work, "init", "--quiet", "--initial-branch", "develop")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "One")
    git(work, "remote", "add", "origin", str(remote))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gh").write_text(
        f'#!/bin/sh\nprintf \'%s\\n\' "$1 $2" >>{calls}\n[ "$2" != list ] || cat {tmp_path}/open\n'
    )
    (tmp_path / "bin/gh").chmod(0o755)
    (tmp_path / "open").touch()
    given = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def propose() -> str:
        command = ["sh", "scripts/propose", "updates/python", "Take newer packages"]
        return subprocess.run(command, cwd=work, env=given, check=True, capture_output=True, text=True).stdout

    assert "nothing has changed" in propose()
    assert not calls.exists()
    (work / "lock").write_text("2")
    propose()
    assert calls.read_text().splitlines() == ["auth setup-git", "pr list", "pr create"]
    assert git(remote, "show", "updates/python:lock") == "2"
    (tmp_path / "open").write_text("7\n")
    git(work, "switch", "--quiet", "develop")
    (work / "lock").write_text("3")
    assert "is updated" in propose()
    assert calls.read_text().count("pr create") == 1
    assert git(remote, "show", "updates/python:lock") == "3"
    assert git(remote, "rev-list", "--count", "updates/python") == "2"
