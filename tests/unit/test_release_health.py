"""Waiting for Argo CD, notices, and a repository that asks for a token: against servers of this test."""

import base64
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from eco2.release import health, notices, repository
from eco2.release.repository import ReleaseError

Answer = tuple[int, bytes]
TAGS = {"scan": "1" * 12, "scan-worker": "1" * 12}
OLD, NEW = "0" * 12, "1" * 12
OLDER, RELEASE = "e" * 40, "f" * 40


@contextmanager
def server(answered: Callable[[BaseHTTPRequestHandler], Answer]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answered(self)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{found.server_port}"
        finally:
            found.shutdown()
            thread.join()


# --- Argo CD ----------------------------------------------------------------------------------------------------------


def application(
    health: str = "Healthy", sync: str = "Synced", revision: str = NEW, name: str = "dev-scan", at: str = RELEASE
) -> Any:
    images = [f"docker.io/mng990/eco2:{service}-dev-{revision}" for service in TAGS]
    status: dict[str, Any] = {"health": {"status": health}, "sync": {"status": sync, "revision": at}}
    status["summary"] = {"images": images}
    return {"metadata": {"name": name}, "status": status}


def waited(*answers: Any, seconds: float = 60, patience: float = 60) -> list[str]:
    """Words said while Argo CD gave these answers in turn, the last one for ever."""
    said: list[str] = []
    left, refreshed = list(answers), list[str]()

    def answered(request: BaseHTTPRequestHandler) -> Answer:
        assert request.headers["Authorization"] == "Bearer a-token"
        if "?refresh=normal" in request.path:
            assert request.path == "/api/v1/applications/dev-scan?refresh=normal"
            refreshed.append(request.path)
            return 200, b"{}"
        assert refreshed
        now = left.pop(0) if len(left) > 1 else left[0]
        return (now, b"") if isinstance(now, int) else (200, json.dumps({"items": now}).encode())

    with server(answered) as url:
        settings = health.ArgoSettings(argocd_url=url, argocd_token="a-token")
        health.wait(settings, "dev", TAGS, seconds, said.append, {OLDER}, pause=0.0, patience=patience)
    return said


def test_waits_until_the_application_runs_the_images_is_synced_and_healthy() -> None:
    said = waited(
        [application(revision=OLD)],
        [application(sync="OutOfSync")],
        [application("Progressing")],
        [application("Suspended")],
        [application()],
    )
    assert said == [f"dev-scan is {state}" if state != "images" else "dev-scan runs other images" for state in
                    ("images", "not synced", "progressing", "suspended")]  # fmt: skip


def test_a_canary_that_was_aborted_has_failed_though_it_runs_the_old_images() -> None:
    with pytest.raises(health.NotHealthy, match="dev has failed: dev-scan is degraded"):
        waited([application("Degraded", revision=OLD)], patience=0)


def test_degraded_for_a_moment_is_no_failure() -> None:
    assert waited([application("Degraded")], [application()]) == ["dev-scan is degraded"]


def test_degraded_before_the_release_says_nothing_of_it() -> None:
    said = waited(
        [application("Degraded", revision=OLD, at=OLDER)],
        [application("Degraded", revision=OLD, sync="OutOfSync")],
        [application("Progressing")],
        [application()],
        patience=0,
    )
    assert said == [f"dev-scan {state}" for state in ("is at an older commit", "runs other images", "is progressing")]


def test_healthy_before_the_release_is_not_healthy_with_it() -> None:
    assert waited([application(at=OLDER)], [application()]) == ["dev-scan is at an older commit"]


def test_time_comes_to_an_end() -> None:
    with pytest.raises(health.NotHealthy, match="not healthy after 0 s: dev-scan is unknown to Argo CD"):
        waited([application(name="prod-scan")], seconds=0)


def test_an_argo_cd_that_is_away_for_a_moment_is_asked_again() -> None:
    assert waited(503, [application()]) == ["Argo CD answers 503"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_refused_is_said_at_once(status: int) -> None:
    with pytest.raises(health.NotHealthy, match="is ECO2_ARGOCD_TOKEN right"):
        waited(status)


def test_an_argo_cd_that_is_not_there_is_said() -> None:
    settings = health.ArgoSettings(argocd_url="http://127.0.0.1:9", argocd_token="a-token")
    with pytest.raises(health.NotHealthy, match="does not answer"):
        health.wait(settings, "dev", TAGS, 0, print)


def test_a_gateway_is_waited_for_by_its_chart_and_by_its_pods() -> None:
    def one(name: str, revision: str, proxy: str, health: str = "Healthy") -> Any:
        found = application(health, name=name, at=revision)
        found["status"]["summary"] = {"images": [f"docker.io/istio/proxyv2:{proxy}"]}
        return found

    def state(chart: str, proxy: str, health: str = "Healthy") -> list[Any]:
        return [one("dev-istio-gateway", chart, proxy), one("dev-route-gateway", RELEASE, proxy, health)]

    def looked_at(found: list[Any]) -> tuple[str, bool]:
        with (
            server(lambda _: (200, json.dumps({"items": found}).encode())) as url,
            httpx2.Client(base_url=url) as client,
        ):
            return health._looked_at(client, "dev", {"gateway": "1.31.3"}, {OLDER})

    assert looked_at(state("1.31.0", "1.31.0"))[0].startswith("dev-istio-gateway is at another version")
    assert looked_at(state("1.31.3", "1.31.0")) == ("dev-route-gateway runs other images", False)
    assert looked_at(state("1.31.3", "1.31.0", "Degraded")) == ("dev-route-gateway is degraded", True)
    assert looked_at(state("1.31.3", "1.31.3")) == ("", False)


def test_the_names_of_applications_are_those_of_the_manifests() -> None:
    applications = Path(__file__).parents[2] / "clusters"
    found = (applications / "base/apps/40-apis-appset.yaml").read_text()
    assert "name: '{{index .path.segments 3}}-{{index .path.segments 2}}'" in found
    assert health.applications_of("scan-worker", "prod") == ("prod-scan",)
    # The others are named in their own files, and the environment puts its name before.
    assert "\nnamePrefix: prod-\n" in (applications / "prod/apps/kustomization.yaml").read_text()
    assert "\n  name: migrations\n" in (applications / "base/apps/38-migrations.yaml").read_text()
    assert health.applications_of("migrations", "prod") == ("prod-migrations",)
    assert "\n  name: istio-gateway\n" in (applications / "base/apps/14-istio-gateway.yaml").read_text()
    routes = (applications / "base/apps/50-istio-routes.yaml").read_text()
    assert "name: '{{index .path.segments 3}}-route-{{index .path.segments 2}}'" in routes
    assert health.applications_of("gateway", "prod") == ("prod-istio-gateway", "prod-route-gateway")


# --- notices ----------------------------------------------------------------------------------------------------------


def test_both_channels_are_told_in_their_words() -> None:
    told: dict[str, Any] = {}

    def answered(request: BaseHTTPRequestHandler) -> Answer:
        told[request.path] = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        return 204, b""

    with server(answered) as url:
        settings = notices.NoticeSettings(slack_webhook=f"{url}/slack", discord_webhook=f"{url}/discord")
        assert notices.send(settings, "done") == ["Slack", "Discord"]
    assert told == {"/slack": {"text": "done"}, "/discord": {"content": "done"}}


def test_a_channel_that_is_away_does_not_keep_the_other_from_being_told() -> None:
    told: list[str] = []

    def answered(request: BaseHTTPRequestHandler) -> Answer:
        told.append(request.path)
        return (500 if request.path == "/slack" else 204), b""

    with server(answered) as url:
        settings = notices.NoticeSettings(slack_webhook=f"{url}/slack", discord_webhook=f"{url}/discord")
        with pytest.raises(notices.NotTold, match=r"^Slack answers 500$"):
            notices.send(settings, "done")
    assert told == ["/slack", "/discord"]


def test_nobody_is_told_where_nobody_is_set() -> None:
    assert notices.send(notices.NoticeSettings(), "done") == []


@pytest.mark.parametrize(
    ("result", "release", "rollback", "undone", "restored", "words"),
    [
        ("success", "abc", "skipped", "", "skipped", "release abc runs and answers"),
        ("success", "", "", "", "", "nothing changed"),
        ("failure", "", "", "", "", "was not made (failure); what ran before goes on"),
        ("failure", "abc", "success", "def", "success", "failed and was rolled back by def; the schema stays"),
        ("failure", "abc", "success", "def", "failure", "failed, and so did its rollback def; the schema stays"),
        ("failure", "abc", "success", "def", "cancelled", "failed, then nobody waited for its rollback def"),
        ("failure", "abc", "success", "", "skipped", "failed and the rollback found nothing to change"),
        ("failure", "abc", "failure", "", "skipped", "failed and was NOT rolled back"),
        ("failure", "abc", "skipped", "", "skipped", "failed and was NOT rolled back"),
        ("cancelled", "abc", "skipped", "", "skipped", "was made, then nobody waited for it"),
    ],
)
def test_a_notice_says_what_became_of_the_release(
    result: str, release: str, rollback: str, undone: str, restored: str, words: str
) -> None:
    text = notices.of_deployment("dev", result, release, rollback, undone, restored, "https://example/1")
    assert words in text
    assert text.endswith(" https://example/1")


# --- a repository behind a token --------------------------------------------------------------------------------------


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A bare repository with one service in dev, which http.receivepack lets people push to."""
    work, bare = tmp_path / "work", tmp_path / "served" / "eco2.git"
    overlay = work / "workloads/domains/scan/dev/kustomization.yaml"
    overlay.parent.mkdir(parents=True)
    overlay.write_text("images:\n  - name: docker.io/mng990/eco2\n    newTag: scan-dev-0.1.0\n")
    for folder, *arguments in (
        (work, "init", "--quiet", "--initial-branch", "develop"),
        (work, "add", "--all"),
        (work, *repository.AUTHOR, "commit", "--quiet", "--message", "One"),
        (tmp_path, "clone", "--quiet", "--bare", str(work), str(bare)),
        (bare, "config", "http.receivepack", "true"),
    ):
        subprocess.run(["git", *map(str, arguments)], cwd=folder, check=True)
    return bare


@contextmanager
def served(bare: Path, token: str) -> Iterator[str]:
    """Git's own HTTP server, behind a password as GitHub has one."""
    wanted = "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers["Authorization"] != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            environment = {
                **os.environ,
                "GIT_PROJECT_ROOT": str(bare.parent),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REMOTE_USER": "somebody",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            }
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            done = subprocess.run(["git", "http-backend"], env=environment, input=body, capture_output=True, check=True)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            self.send_response(200)
            for line in head.decode().splitlines():
                self.send_header(*line.split(": ", 1))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{found.server_port}/eco2.git"
        finally:
            found.shutdown()
            thread.join()


def test_a_token_opens_the_repository_and_is_never_in_the_environment_of_this_process(
    remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = subprocess.run(["git", "rev-parse", "develop"], cwd=remote, capture_output=True, text=True).stdout.strip()
    monkeypatch.setenv("ECO2_RELEASE_TOKEN", "a-token")
    before = dict(os.environ)
    with served(remote, "a-token") as url:
        release = repository.promote(url, "dev", ["scan"], head)
        assert [str(change) for change in release.changes] == [f"scan: 0.1.0 → {head[:12]}"]
        assert repository.promote(url, "dev", ["scan"], head).commit == ""
        with repository.clone(url, "dev") as folder:
            assert repository.released(folder, "dev", release.commit) == {"scan": head[:12]}
            assert repository.before(folder, release.commit) == {head}
            assert "a-token" not in (folder / ".git/config").read_text()
            assert dict(os.environ) == before
    assert dict(os.environ) == before


def test_a_token_that_is_refused_is_said(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECO2_RELEASE_TOKEN", "another-token")
    with served(remote, "a-token") as url, pytest.raises(ReleaseError, match="git clone: "):
        repository.promote(url, "dev", ["scan"], "HEAD")
