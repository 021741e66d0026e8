"""A disk that takes no more: what is written to it is left out, said, or kept elsewhere."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eco2.local import disk, logs, queue_health, state
from eco2.local.disk import Level, Room

GB, MB = disk.GB, disk.MB


@contextlib.contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_output_that_does_not_fit_is_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "api.log"
    file = logs.LogFile(path)
    with files_no_longer_than(10):
        file.write(b"line 0001\n")
        file.write(b"line 0002\n")
        file.write(b"line 0003\n")
    file.write(b"line 0004\n")
    file.close()
    assert path.read_text() == "line 0001\n[20 bytes could not be written here]\nline 0004\n"


def test_a_log_that_cannot_be_opened_is_opened_when_it_can(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    file = logs.LogFile(tmp_path / "logs" / "api.log")
    file.write(b"lost\n")
    (tmp_path / "logs").unlink()
    file.write(b"kept\n")
    file.close()
    assert (tmp_path / "logs" / "api.log").read_text() == "[5 bytes could not be written here]\nkept\n"


def test_output_that_a_process_appends_by_itself_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 100)
    path = tmp_path / "supervisor.log"
    with path.open("ab", buffering=0) as file:
        for number in range(30):
            file.write(f"line {number:04}\n".encode())
            logs.bound(file.fileno())
    assert 0 < path.stat().st_size <= 110
    assert path.read_text().endswith("line 0029\n")


def test_a_state_that_does_not_fit_is_kept_in_memory_until_it_does(tmp_path: Path) -> None:
    def saved() -> int | None:
        found = state.load(tmp_path)
        return found.pid if found else None

    assert state.save(tmp_path, state.StackState(1, None))
    (tmp_path / "state.json").unlink()
    (tmp_path / "state.json").mkdir()  # in the way of the file, as a full disk is
    assert state.save(tmp_path, state.StackState(2, None))
    assert saved() == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "state.json"]
    (tmp_path / "state.json").rmdir()
    assert state.save(tmp_path, state.StackState(3, None))
    assert saved() == 3
    state.forget(tmp_path)
    assert saved() is None


def test_a_state_that_cannot_be_kept_anywhere_is_no_failure(tmp_path: Path) -> None:
    with files_no_longer_than(5):
        assert not state.save(tmp_path, state.StackState(1, None))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", '{"pid": 1', "[]", '{"pid": 1, "started": 2, "processes": [{"colour": "red"}]}'])
def test_a_state_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert state.load(tmp_path) is None


def test_a_process_that_ends_before_its_signal_is_no_failure() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    state._signal_group(state.ProcessState("api", "api", 0, pid=child), 15)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("room", "level"),
    [
        (Room(5 * GB, None), Level.ENOUGH),
        (Room(5 * GB, 100_000), Level.ENOUGH),
        (Room(900 * MB, None), Level.LOW),
        (Room(5 * GB, 1000), Level.LOW),
        (Room(200 * MB, None), Level.REFUSED),
        (Room(90 * MB, None), Level.HELD),
        (Room(5 * GB, 0), Level.HELD),
    ],
)
def test_room_is_scarce_in_bytes_or_in_files(room: Room, level: Level) -> None:
    assert room.level is level


def test_queues_without_a_leader_and_queues_that_are_down_are_dead() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "scan.vision", "vhost": "eco2", "type": "quorum", "leader": None},
        {"name": "scan.rule", "vhost": "eco2", "type": "quorum", "leader": "eco2@localhost"},
        {"name": "q.ai", "vhost": "tasks", "type": "classic", "state": "down"},
        {"name": "q.dlq", "vhost": "tasks", "type": "classic", "state": "running"},
        {"name": "amq.gen-1", "vhost": "eco2", "type": "classic", "state": "down"},
        {"name": "other", "vhost": "/", "type": "quorum", "leader": None},
    ]
    assert queue_health.dead(rows) == ["q.ai", "scan.vision"]
