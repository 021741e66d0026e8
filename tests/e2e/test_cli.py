"""The commands of a citizen and an operator, against the running stack."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from eco2.local.stack import Stack
from eco2.processes import PROCESSES
from tests import photos
from tests.conftest import LEFT_OUT

DEMO = Path(__file__).parents[2] / "data/demo/coffee.jpg"


@pytest.fixture
def own(stack: Stack) -> dict[str, str]:
    """The home is enough: the ports are those of the stack that runs there."""
    return {"ECO2_HOME": str(stack.layout.home)}


@pytest.fixture
def eco2(own: dict[str, str]) -> Any:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ECO2_")}

    async def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "eco2", *arguments),
            env={**clean, **own, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, out.decode(), err.decode()

    return run


async def test_scan_prints_the_guide_and_its_progress(eco2: Any) -> None:
    code, out, err = await eco2("scan", str(DEMO))
    assert code == 0, err
    assert "불연성 전용마대" in out
    assert "1. " in out
    assert err.splitlines()[-1].startswith("100%")


async def test_scan_as_json_is_the_result_of_the_api(eco2: Any) -> None:
    code, out, err = await eco2("scan", str(DEMO), "--json")
    body = json.loads(out)
    assert (code, err) == (0, "")
    assert (body["status"], body["needs_choice"]) == ("completed", False)


@pytest.fixture
def blur(tmp_path: Path) -> Path:
    """A photo that the embedded model cannot tell; its name says nothing about its type."""
    photo = tmp_path / "blur"
    photo.write_bytes(photos.jpeg(320, 240))
    return photo


async def test_scan_of_something_unclear_says_how_to_answer_later(eco2: Any, blur: Path) -> None:
    code, out, _ = await eco2("scan", str(blur), "--user", "somebody")
    assert code == 0
    assert "미확인" in out
    job, answer = re.findall(r"작업 번호: (\S+)\n.*: eco2 (choose \S+ 이름 --user somebody)\n", out)[0]
    assert job in answer

    code, _, err = await eco2(*answer.replace("이름", "없는것").split())
    assert code == 1
    assert "UNKNOWN_CATEGORY" in err
    code, out, err = await eco2("choose", job, " 우유팩 ", "--user", "somebody")
    assert code == 0, err
    assert "종이팩" in out
    code, _, err = await eco2("choose", job, "우유팩", "--user", "a stranger")
    assert code == 1
    assert "RESULT_NOT_FOUND" in err


def at_a_terminal(own: dict[str, str], photo: Path, answers: list[str]) -> tuple[int, str]:
    """Runs a scan on a terminal of its own and types an answer at each question."""
    command = (sys.executable, "-m", "eco2", "scan", str(photo), "--user", "a typist")
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        command, env={**os.environ, **own, "TERM": "dumb"}, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
        while data := os.read(terminal, 65536):
            shown += data
            if answers and shown.rstrip().endswith(b"):"):
                os.write(terminal, f"{answers.pop(0)}\n".encode())
    os.close(terminal)
    return process.wait(), shown.decode()


async def test_a_wrong_answer_is_asked_again(own: dict[str, str], blur: Path) -> None:
    answers = ["²", "99", "없는것", "  우유팩  "]
    code, shown = await asyncio.wait_for(asyncio.to_thread(at_a_terminal, own, blur, answers), 60)
    assert (code, answers) == (0, [])
    assert "Traceback" not in shown
    assert shown.count("번호나 이름을 적어 주세요 (그만두려면 Enter)") == 4
    assert "종이팩" in shown


async def test_leaving_the_question_says_how_to_answer_later(own: dict[str, str], blur: Path) -> None:
    code, shown = await asyncio.wait_for(asyncio.to_thread(at_a_terminal, own, blur, [""]), 60)
    assert code == 0
    assert "eco2 choose" in shown


async def test_scan_with_words_shows_the_reward(eco2: Any, tmp_path: Path) -> None:
    photo = tmp_path / "carton.jpg"
    photo.write_bytes(photos.jpeg(320, 240))
    code, out, _ = await eco2("scan", str(photo), "--say", "우유팩")
    assert code == 0
    assert "팩토리" in out


async def test_names_and_words_in_another_encoding_are_read_and_shown_as_far_as_the_terminal_can(
    eco2: Any, tmp_path: Path
) -> None:
    photo = tmp_path / os.fsdecode("우유팩.jpg".encode("cp949"))
    photo.write_bytes(photos.jpeg(320, 240))
    code, out, err = await eco2("scan", str(photo), "--say", os.fsdecode("우유팩".encode("cp949")))
    assert code == 0, err
    assert "팩토리" in out
    code, out, err = await eco2("scan", str(photo), "--say", "우유팩", PYTHONIOENCODING="ascii")
    assert code == 0, err
    photo.unlink()
    code, out, err = await eco2("scan", str(photo))
    assert code == 1
    assert "우유팩.jpg 파일을 읽을 수 없어요" in err


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: None, "읽을 수 없어요"),
        (lambda path: path.write_bytes(b"text"), "IMAGE_TYPE_NOT_SUPPORTED"),
        (lambda path: path.write_bytes(bytes(16 * 1024 * 1024)), "16.0 MB예요. 15 MB까지"),
    ],
    ids=["missing", "no-photo", "too-large"],
)
async def test_a_scan_that_cannot_work_says_why_in_one_sentence(
    eco2: Any, tmp_path: Path, make: Any, words: str
) -> None:
    photo = tmp_path / "file.jpg"
    make(photo)
    code, out, err = await eco2("scan", str(photo))
    assert code == 1
    assert words in out + err
    assert "Traceback" not in err


async def test_scan_without_a_platform_says_what_to_do(eco2: Any) -> None:
    code, _, err = await eco2("scan", str(DEMO), "--url", "http://127.0.0.1:11999")
    assert code == 1
    assert "eco2 up" in err


async def test_words_past_the_limit_are_refused_before_the_upload(eco2: Any, blur: Path) -> None:
    code, _, err = await eco2("scan", str(blur), "--say", "가" * 1001, "--url", "http://127.0.0.1:11999")
    assert code == 1
    assert "1000자" in err


@pytest.mark.parametrize("name", ["postgres", "object-store"])
async def test_another_server_at_the_address_is_not_taken_for_the_platform(eco2: Any, stack: Stack, name: str) -> None:
    code, _, err = await eco2("scan", str(DEMO), "--url", f"http://127.0.0.1:{stack.layout.port_of(name)}")
    assert code == 1
    assert "Eco²가 아닌 것 같아요" in err


async def test_the_user_of_a_local_token_has_an_account(eco2: Any, stack: Stack) -> None:
    ids = set()
    for _ in range(2):
        code, token, _ = await eco2("local", "token", "--user", "나무")
        assert code == 0
        async with httpx2.AsyncClient(base_url=stack.layout.public_url) as client:
            me = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token.strip()}"})
        assert (me.status_code, me.json()["nickname"]) == (200, "나무")
        ids.add(jwt.decode(token.strip(), options={"verify_signature": False})["sub"])
    assert len(ids) == 1


async def test_a_local_token_may_be_that_of_a_guest(eco2: Any, stack: Stack) -> None:
    code, token, _ = await eco2("local", "token", "--guest")
    assert code == 0
    async with httpx2.AsyncClient(base_url=stack.layout.public_url) as client:
        me = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token.strip()}"})
    assert (me.status_code, me.json()["role"]) == (200, "guest")


async def test_a_forged_token_is_refused_in_korean(eco2: Any) -> None:
    code, _, err = await eco2("scan", str(DEMO), "--token", "forged")
    assert code == 1
    assert "로그인이 필요해요" in err
    assert "(UNAUTHORIZED)" in err


async def test_status_shows_the_gateway_and_the_home(eco2: Any, stack: Stack) -> None:
    _, out, _ = await eco2("status")
    assert "Photos are looked at by the embedded model" in out
    assert stack.layout.public_url in out
    assert str(stack.layout.home) in out
    assert (await eco2("local", "url"))[1].strip() == stack.layout.public_url


async def test_status_lists_every_process(eco2: Any) -> None:
    code, out, _ = await eco2("status", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert {row.name for row in PROCESSES} - {LEFT_OUT} <= set(rows)
    assert all(row["ready"] and row["pid"] for row in rows.values())
    assert {"name", "kind", "pid", "port", "ready"} <= set(rows["gateway"])


async def test_an_unknown_process_names_the_known(eco2: Any) -> None:
    code, _, err = await eco2("run", "nothing")
    assert code == 1
    assert "scan-api" in err


async def test_a_process_without_its_settings_names_them(eco2: Any) -> None:
    code, _, err = await eco2("run", "scan-api")
    assert code == 1
    assert "ECO2_DATABASE_URL" in err
    assert 'eval "$(eco2 local env --process scan-api)"' in err


async def test_a_job_is_shown(eco2: Any) -> None:
    _, out, _ = await eco2("scan", str(DEMO), "--json")
    job = json.loads(out)["task_id"]
    code, out, err = await eco2("job", "show", job)
    assert code == 0, err
    assert "completed" in out
    assert "vision" in out
    code, out, _ = await eco2("job", "show", job, "--json")
    assert json.loads(out)["job"]["id"] == job
    for unknown in ("nonsense", "0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"):
        code, _, err = await eco2("job", "show", unknown)
        assert code == 1
        assert "job" in err


class Terminal:
    """A terminal that a chat runs in; what it shows is read as it comes."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.own, theirs = pty.openpty()
        self.shown = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "eco2", "chat"],
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=self._takes_the_terminal,
        )
        os.close(theirs)

    @staticmethod
    def _takes_the_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the shell of the tests may ignore it

    async def shows(self, words: str) -> None:
        """Wait until it has shown the words; what comes after them is looked at next."""
        async with asyncio.timeout(60):
            while words not in self.shown:
                self.shown += (await asyncio.to_thread(os.read, self.own, 65_536)).decode(errors="replace")
        self.shown = self.shown.partition(words)[2]

    def types(self, text: str) -> None:
        os.write(self.own, text.encode())

    async def stops(self, words: str) -> None:
        """Ctrl-C; again where `input` was about to wait, when Python sees a signal at the next key only."""
        for _ in range(5):
            self.types("\x03")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    await self.shows(words)
                return
        raise TimeoutError(words)

    async def ends(self) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self._process.wait), 60)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self.own)


async def test_in_a_terminal_a_place_is_typed_and_ctrl_c_stops_the_answer(own: dict[str, str]) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ECO2_")}
    terminal = Terminal({**clean, **own})
    try:
        await terminal.shows("> ")
        terminal.types("오늘 비 와?\n")
        await terminal.shows("위도,경도")
        terminal.types("37.5665, 126.9780\n")
        await terminal.shows("지금 계신 곳 날씨")
        await terminal.shows("> ")
        terminal.types("근처 제로웨이스트 가게 어디 있어?\n")
        await terminal.shows("위도,경도")
        await terminal.stops("답변을 멈췄어요.")
        await terminal.shows("> ")
        terminal.types("/quit\n")
        assert await terminal.ends() == 0
    finally:
        terminal.close()


async def test_a_chat_in_a_terminal_goes_on_from_a_scan_and_later(eco2: Any) -> None:
    _, out, _ = await eco2("scan", str(DEMO), "--json")
    code, out, err = await eco2("chat", "--scan", json.loads(out)["task_id"], "그럼 어디에 버려요?")
    assert code == 0, err
    assert out.strip()
    later = re.search(r"eco2 chat --chat (\S+)", err)
    assert later
    code, out, err = await eco2("chat", "--chat", later[1], "--json", "캔은 어떻게 버려요?")
    done = json.loads(out)
    assert (code, done["status"], done["result"]["persistence"]["conversation_id"]) == (0, "completed", later[1])
    assert "캔" in done["result"]["answer"]
    code, _, err = await eco2("chat", "--scan", "7d0f6c0a-52c7-4a3e-9a55-0f6a0f3f8f10", "캔")
    assert (code, "RESULT_NOT_FOUND" in err, "Traceback" in err) == (1, True, False)
