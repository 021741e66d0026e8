"""Output of the commands for a person, without a stack."""

import errno
import itertools
import os

import pytest
import typer

from eco2.cli import client, messages, scan
from eco2.cli import stack as local
from eco2.cli.client import ClientError
from eco2.cli.main import app
from eco2.local.state import ProcessState, StackState
from eco2.processes import PROCESSES


@pytest.mark.parametrize(("name", "words"), [(None, "The disk is full: "), ("/x/log", "The disk is full (/x/log): ")])
def test_a_full_disk_is_a_sentence(capsys: pytest.CaptureFixture[str], name: str | None, words: str) -> None:
    with pytest.raises(typer.Exit), local.plain_errors():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    assert capsys.readouterr().err.startswith(words)


@pytest.mark.parametrize("width", [30, 50, 80, 200])
def test_the_table_keeps_names_whole(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    rows = [ProcessState(row.name, row.kind, 10000 + row.port, 123456, 1) for row in PROCESSES]
    monkeypatch.setattr(local.out, "_width", width)
    with local.out.capture() as shown:
        local.out.print(local._table(StackState(0, None, rows)))
    text = shown.get()
    assert all(f" {row.name} " in text for row in PROCESSES)
    assert text.count("stopped") == len(rows)


@pytest.mark.parametrize(
    ("answer", "name"),
    [("1", "가"), ("2", "나"), ("0", None), ("3", None), ("99", None), ("²", "²"), ("우유팩", "우유팩"), ("-1", "-1")],
)
def test_a_choice_is_a_number_or_a_name(answer: str, name: str | None) -> None:
    assert scan.chosen(answer, ["가", "나"]) == name


@pytest.mark.parametrize("url", ["foo", "localhost:8080", "http://", "http://a:b", "ftp://127.0.0.1", "http://[::1"])
def test_an_address_needs_a_scheme_and_a_host(url: str) -> None:
    with pytest.raises(ClientError, match="주소가 아니에요"):
        client.connect(url, "token")


def test_a_refusal_is_korean_and_keeps_its_code() -> None:
    assert messages.sentence("TOO_MANY_JOBS", "x").endswith("(TOO_MANY_JOBS)")
    assert "x" not in messages.sentence("TOO_MANY_JOBS", "x")
    assert messages.sentence("NEW_CODE", "words") == "words (NEW_CODE)"
    assert all(any("가" <= char <= "힣" for char in text) for text in messages.BY_CODE.values())


def test_help_names_processes_and_variables() -> None:
    command = typer.main.get_command(app)
    texts = {name: _help(getattr(command, "commands")[name]) for name in ("up", "logs", "run")}  # noqa: B009
    for row, name in itertools.product(PROCESSES, ("up", "logs")):
        assert row.name in texts[name]
    assert "scan-worker" in texts["run"]
    for variable in ("ECO2_HOME", "ECO2_PORT_BASE", "ECO2_GATEWAY_PORT"):
        assert variable in texts["up"]


def _help(command: object) -> str:
    parts = [getattr(command, "help", ""), *(getattr(row, "help", "") for row in getattr(command, "params", ()))]
    return " ".join(part or "" for part in parts)
