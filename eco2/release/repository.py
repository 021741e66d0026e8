"""A release is a commit: it changes the tags of the image in the overlays of one environment, and Argo CD follows.

Every change is made in a clone of its own and pushed; after a conflict it is made again on the new head."""

import base64
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from eco2.core.settings import SettingsGroup
from eco2.release.services import MIGRATIONS, Service, changed, services

ENVIRONMENTS = ("dev", "staging", "prod")
BRANCHES = {"dev": "develop", "staging": "main", "prod": "main"}
"""Branches that Argo CD follows (clusters/*/root-app.yaml)."""
BEFORE = {"prod": "staging"}
"""Environment → the one whose images it takes over. Dev and staging take images built from their branch."""
ATTEMPTS = 6
AUTHOR = ("-c", "user.name=eco2 release", "-c", "user.email=release@eco2.invalid")
_TAG = re.compile(r"^(?P<start>\s+newTag: )(?P<tag>\S+)$", re.MULTILINE)
_OVERLAYS = ("workloads/domains/*/{0}/kustomization.yaml", "workloads/migrations/{0}/kustomization.yaml")


GATEWAY = "gateway"
"""The mesh gateway as a service: it runs a version of Istio's chart, no image of ours."""
_CHARTS = "clusters/{0}/apps/14-istio-gateway.yaml"
_CONTROL_PLANE = "clusters/{0}/apps/13-istiod.yaml"
_VERSION = re.compile(r"^(?P<start>.*\btargetRevision\b.*?)(?P<version>\d+\.\d+\.\d+)", re.MULTILINE)
_WHOLE_VERSION = re.compile(r"\d+\.\d+\.\d+")


class RepositorySettings(SettingsGroup):
    release_token: str = ""
    """Of an account that may push to the branches; empty: git asks whom it is set up to ask."""


class ReleaseError(Exception):
    """One sentence for the operator of the release."""


@dataclass(frozen=True)
class Change:
    service: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.service}: {self.old} → {self.new}"


@dataclass(frozen=True)
class Release:
    """`commit` is empty where nothing had to change."""

    commit: str
    changes: tuple[Change, ...]


def git(folder: Path, *arguments: str, remote: str = "") -> str:
    """`remote`: the address that the command speaks with; it gets the token for it."""
    done = _git(folder, *arguments, remote=remote)
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def _git(folder: Path, *arguments: str, remote: str = "", lang: str = "") -> "subprocess.CompletedProcess[str]":
    environment = os.environ | _token_for(remote) | ({"LC_ALL": lang} if lang else {})
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)  # noqa: S603


@contextmanager
def clone(remote: str, environment: str) -> Iterator[Path]:
    """The branch of the environment, with its history, in a folder that goes afterwards."""
    if environment not in ENVIRONMENTS:
        raise ReleaseError(f"There is no environment {environment!r}: {', '.join(ENVIRONMENTS)}.")
    with tempfile.TemporaryDirectory(prefix="eco2-release-") as folder:
        path = Path(folder) / "repository"
        git(Path(folder), "clone", "--quiet", "--branch", BRANCHES[environment], remote, str(path), remote=remote)
        yield path


def _token_for(remote: str) -> dict[str, str]:
    """Environment by which git sends the token to the host of the remote; no list of processes shows it."""
    token, host = RepositorySettings().release_token, urlsplit(remote)
    if not token or host.scheme not in ("http", "https"):
        return {}
    secret = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{host.scheme}://{host.netloc}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {secret}",
        "GIT_TERMINAL_PROMPT": "0",
    }


def built_for(branch: str) -> str:
    """The environment whose images are built from a branch; dev for branches that are to be merged."""
    return next((name for name, of in BRANCHES.items() if of == branch and name not in BEFORE), "dev")


def outdated(folder: Path, environment: str) -> list[Service]:
    """Services whose image would differ from the one that the overlays of this checkout name.

    Compared with what runs, not with the last push: a build that failed is made up for by the next one. What a rollback
    took back is not offered again before its files change, or it would fail and be taken back for ever."""
    by_revision: dict[str, set[str]] = {}
    for name, revision in tags(folder, environment).items():
        by_revision.setdefault(revision, set()).add(name)
    found: set[str] = set()
    for revision, names in by_revision.items():
        if _known(folder, revision):
            paths = git(folder, "diff", "--name-only", revision, "HEAD").splitlines()
            names &= {service.name for service in changed(paths, folder)}
        found |= names
    for revision, names in _taken_back(folder, environment).items():
        if names & found and _known(folder, revision):
            paths = git(folder, "diff", "--name-only", revision, "HEAD").splitlines()
            found -= names - {service.name for service in changed(paths, folder)}
    return [service for service in services() if service.name in found]


def _taken_back(folder: Path, environment: str) -> dict[str, set[str]]:
    """Revision → services of which a rollback replaced it."""
    patches = git(folder, "log", "--grep=^Release-Undoes: ", "--format=", "--patch", "--unified=0", "--", "workloads")
    found: dict[str, set[str]] = {}
    for tag in re.findall(r"^-\s+newTag: (\S+)$", patches, re.MULTILINE):
        service, between, revision = tag.rpartition(f"-{environment}-")
        if between:
            found.setdefault(revision, set()).add(service)
    return found


def released(folder: Path, environment: str, release: str) -> dict[str, str]:
    """Services that a release changed → revisions that they are to run now, of the gateway its version."""
    before, after = (_state_at(folder, commit, environment) for commit in (f"{release}^", release))
    now = state(folder, environment)
    return {name: now[name] for name in after if name in now and before.get(name) != after[name]}


def before(folder: Path, release: str) -> frozenset[str]:
    """Commits older than a release."""
    return frozenset(git(folder, "rev-list", "--skip=1", release).splitlines())


def tags(folder: Path, environment: str) -> dict[str, str]:
    """Service → revision that the environment runs, by its overlays."""
    return {
        service: revision for _, text in _files(folder, environment) for service, revision in _of(text, environment)
    }


def state(folder: Path, environment: str) -> dict[str, str]:
    """`tags`, and the version of the gateway."""
    path = folder / _CHARTS.format(environment)
    found = _VERSION.search(path.read_text()) if path.exists() else None
    return {**tags(folder, environment), **({GATEWAY: found["version"]} if found else {})}


def _files(folder: Path, environment: str) -> list[tuple[Path, str]]:
    paths = sorted(path for pattern in _OVERLAYS for path in folder.glob(pattern.format(environment)))
    return [(path, path.read_text()) for path in paths]


def _of(text: str, environment: str) -> Iterator[tuple[str, str]]:
    for found in _TAG.finditer(text):
        service, between, revision = found["tag"].rpartition(f"-{environment}-")
        if not between:
            raise ReleaseError(f"{found['tag']} is no tag of {environment}.")
        yield service, revision


def _write(folder: Path, environment: str, wanted: Mapping[str, str]) -> None:
    for path, text in _files(folder, environment):

        def replaced(found: re.Match[str]) -> str:
            service, _, revision = found["tag"].rpartition(f"-{environment}-")
            return f"{found['start']}{service}-{environment}-{wanted.get(service, revision)}"

        path.write_text(_TAG.sub(replaced, text))
    if GATEWAY in wanted:
        path = folder / _CHARTS.format(environment)
        # The chart, and the proxy that its Pods run.
        path.write_text(path.read_text().replace(state(folder, environment)[GATEWAY], wanted[GATEWAY]))


def plan(folder: Path, environment: str, services: Collection[str] = (), revision: str = "") -> tuple[Change, ...]:
    """Changes of a promotion. Without a revision: the images of the environment before. The gateway changes if it is
    named alone; its revision is a version of the chart."""
    now = state(folder, environment)
    unknown = set(services) - now.keys()
    if unknown:
        raise ReleaseError(f"{environment} has no service {', '.join(sorted(unknown))}; it has {', '.join(now)}.")
    if GATEWAY in services:
        return _plan_gateway(folder, environment, services, revision)
    wanted = set(services) or now.keys() - {GATEWAY}
    if revision:
        short = git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")[:12]
        target = dict.fromkeys(wanted, short)
    elif environment in BEFORE:
        source = tags(folder, BEFORE[environment])
        # The schema is released before the code that reads it, even if other services stay behind.
        target = {name: source[name] for name in wanted | {MIGRATIONS} if name in source}
    else:
        raise ReleaseError(f"{environment} takes what was built from {BRANCHES[environment]}: name it with --revision.")
    return tuple(Change(name, now[name], new) for name, new in sorted(target.items()) if now[name] != new)


def _plan_gateway(folder: Path, environment: str, services: Collection[str], version: str) -> tuple[Change, ...]:
    if set(services) != {GATEWAY}:
        raise ReleaseError(f"Release the {GATEWAY} by itself: its revision is a version of Istio's chart.")
    if not version and environment not in BEFORE:
        raise ReleaseError(
            f"Name the version of Istio's chart that the {GATEWAY} of {environment} is to run: --revision."
        )
    wanted = version or state(folder, BEFORE[environment])[GATEWAY]
    if not _WHOLE_VERSION.fullmatch(wanted):
        raise ReleaseError(f"{wanted!r} is no version of Istio's chart, such as 1.31.2.")
    control = _VERSION.search((folder / _CONTROL_PLANE.format(environment)).read_text())
    if control and _numbers(wanted) > _numbers(control["version"]):
        path = _CONTROL_PLANE.format(environment)
        raise ReleaseError(f"{environment} has istiod {control['version']}, which goes first: raise it in {path}.")
    now = state(folder, environment)[GATEWAY]
    return () if now == wanted else (Change(GATEWAY, now, wanted),)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def promote(remote: str, environment: str, services: Collection[str] = (), revision: str = "") -> Release:
    def changes(folder: Path) -> tuple[Change, ...]:
        found = plan(folder, environment, services, revision)
        older = [change for change in found if _is_older(folder, change)]
        if older:
            raise ReleaseError(
                f"{environment} runs newer than that ({older[0]}): `eco2 release rollback {environment}` goes back."
            )
        return found

    return _release(remote, environment, changes, "Release", "")


def _is_older(folder: Path, change: Change) -> bool:
    """A revision that the repository does not know, such as the first one, is older than all."""
    if change.service == GATEWAY:
        return _numbers(change.new) < _numbers(change.old)
    known = [_known(folder, revision) for revision in (change.old, change.new)]
    if not all(known):
        return False
    return _git(folder, "merge-base", "--is-ancestor", change.new, change.old).returncode == 0


def _known(folder: Path, revision: str) -> bool:
    return _git(folder, "cat-file", "-e", f"{revision}^{{commit}}").returncode == 0


def rollback(remote: str, environment: str, release: str = "") -> Release:
    """Undo a release, the last one that is not undone yet. What was released since over the same service stays.

    The migrations stay too: an older image of them does not know the newer revisions, and older code runs on the newer
    schema."""
    undone = ""

    def changes(folder: Path) -> tuple[Change, ...]:
        nonlocal undone
        # Chosen once: where another rollback of the same release was faster, the next attempt finds nothing to do.
        undone = undone or (git(folder, "rev-parse", release) if release else _last(folder, environment))
        return _undoing(folder, environment, undone)

    return _release(remote, environment, changes, "Roll back", lambda: f"Release-Undoes: {undone}")


def _undoing(folder: Path, environment: str, release: str) -> tuple[Change, ...]:
    before, after = (_state_at(folder, commit, environment) for commit in (f"{release}^", release))
    now = state(folder, environment)
    return tuple(
        Change(name, now[name], before[name])
        for name in sorted(now)
        if name != MIGRATIONS and before.get(name, now[name]) != after.get(name) == now[name]
    )


def _last(folder: Path, environment: str) -> str:
    """The newest release that is not undone and changed more than the migrations, which a rollback leaves."""
    log = git(folder, "log", "--format=%H%x09%(trailers:key=Release-Environment,valueonly,separator=%x2C)"
              "%x09%(trailers:key=Release-Undoes,valueonly,separator=%x2C)")  # fmt: skip
    undone = set()
    for line in log.splitlines():
        commit, of, undoes = (line + "\t\t").split("\t")[:3]
        if of != environment:
            continue
        if undoes:
            undone.add(undoes)
        elif commit not in undone and _undoing(folder, environment, commit):
            return commit
    raise ReleaseError(f"There is no release of {environment} to go back from.")


def _state_at(folder: Path, commit: str, environment: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for path, _ in _files(folder, environment):
        found.update(_of(_text_at(folder, commit, path.relative_to(folder).as_posix()), environment))
    version = _VERSION.search(_text_at(folder, commit, _CHARTS.format(environment)))
    return {**found, **({GATEWAY: version["version"]} if version else {})}


def _text_at(folder: Path, commit: str, name: str) -> str:
    """Empty where the commit has no such file."""
    done = _git(folder, "show", f"{commit}:{name}")
    return done.stdout if done.returncode == 0 else ""


def _release(
    remote: str,
    environment: str,
    changes: Callable[[Path], tuple[Change, ...]],
    verb: str,
    trailer: str | Callable[[], str],
) -> Release:
    with clone(remote, environment) as folder:
        branch = BRANCHES[environment]
        for _ in range(ATTEMPTS):
            found = changes(folder)
            if not found:
                return Release("", ())
            _write(folder, environment, {change.service: change.new for change in found})
            more = trailer() if callable(trailer) else trailer
            _commit(folder, f"{verb} {environment}: {_named(found)}", environment, found, more)
            if _pushed(folder, remote, branch):
                return Release(git(folder, "rev-parse", "HEAD"), found)
            git(folder, "fetch", "--quiet", "origin", branch, remote=remote)
            git(folder, "reset", "--quiet", "--hard", f"origin/{branch}")
    raise ReleaseError(f"Others pushed to {branch} {ATTEMPTS} times meanwhile; try again.")


def _named(changes: Iterable[Change]) -> str:
    names = [change.service for change in changes]
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} services"


def _commit(folder: Path, title: str, environment: str, changes: Iterable[Change], trailer: str) -> None:
    trailers = f"Release-Environment: {environment}" + (f"\n{trailer}" if trailer else "")
    message = "\n".join((title, "", *map(str, changes), "", trailers))
    git(folder, *AUTHOR, "commit", "--quiet", "--all", "--message", message)


def _pushed(folder: Path, remote: str, branch: str) -> bool:
    """False when another push was faster; any other refusal is a ReleaseError."""
    done = _git(
        folder, "push", "--quiet", "origin", f"HEAD:{branch}", remote=remote, lang="C"
    )  # its English is read below
    if done.returncode == 0:
        return True
    if any(
        word in done.stderr for word in ("fetch first", "non-fast-forward", "cannot lock ref", "failed to update ref")
    ):
        return False
    raise ReleaseError(f"git push: {done.stderr.strip()}")
