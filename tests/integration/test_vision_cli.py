"""`eco2 vision classify` as a program of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import photos

COFFEE = Path(__file__).parents[2] / "data" / "demo" / "coffee.jpg"
KEYS = {"path", "category", "confidence", "candidates", "abstained", "material", "item", "waste"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def run(models: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eco2", "vision", "classify", *map(str, arguments)]
    environment = {**os.environ, "ECO2_MODEL_DIR": str(models)}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_one_object_a_line(models: Path) -> None:
    done = run(models, COFFEE, "--json")
    (row,) = rows(done)
    assert done.returncode == 0, done.stderr
    assert set(row) == KEYS
    assert row["path"] == str(COFFEE)
    assert (row["item"], row["waste"], row["abstained"]) == ("ceramic", True, row["category"] is None)
    assert row["candidates"][0]["category"] == row["category"] == "불연성쓰레기"
    assert 0 < row["confidence"] <= 1


def test_folders_are_read_and_other_files_in_them_are_not(models: Path, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("b.JPG", "inner/a.jpeg"):
        (tmp_path / name).write_bytes(COFFEE.read_bytes())
    (tmp_path / "notes.txt").write_text("no photo")
    done = run(models, tmp_path, "--json")
    assert [Path(row["path"]).name for row in rows(done)] == ["b.JPG", "a.jpeg"]
    assert done.returncode == 0


def test_of_a_folder_every_photo_is_read_whatever_its_name_and_nothing_else(models: Path, tmp_path: Path) -> None:
    cp949 = os.fsdecode("페트병.jpg".encode("cp949"))
    photo, fork = COFFEE.read_bytes(), b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"
    for name in ("photo.jfif", "IMG_0001", cp949):
        (tmp_path / name).write_bytes(photo)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / ".thumbnails").mkdir()
    for name in ("._photo.jfif", "__MACOSX/a.jpg"):
        (tmp_path / name).write_bytes(fork)
    (tmp_path / ".thumbnails" / "a.jpg").write_bytes(photo)
    (tmp_path / "film.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42")
    done = run(models, tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert {Path(row["path"]).name for row in rows(done)} == {"photo.jfif", "IMG_0001", "페트병.jpg"}


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(models: Path, tmp_path: Path) -> None:
    cut = COFFEE.read_bytes()[:100]
    bad = {"empty.jpg": b"", "page.jpg": b"<html>", "cut.jpg": cut, "huge.jpg": b"\xff" * 16_000_000}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    done = run(models, *(tmp_path / name for name in bad), tmp_path / "missing.jpg", COFFEE, "--json")
    told = {Path(row["path"]).name: row for row in rows(done)}
    assert done.returncode == 1
    assert {name: row.get("code") for name, row in told.items()} == {
        "empty.jpg": "IMAGE_UNREADABLE",
        "page.jpg": "IMAGE_TYPE_NOT_SUPPORTED",
        "cut.jpg": "IMAGE_UNREADABLE",
        "huge.jpg": "IMAGE_TOO_LARGE",
        "missing.jpg": "FILE_UNREADABLE",
        "coffee.jpg": None,
    }
    assert all(row["error"] for name, row in told.items() if name != "coffee.jpg")
    assert told["coffee.jpg"]["item"] == "ceramic"


def test_for_people_a_line_says_what_it_is(models: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.jpg").write_bytes(photos.jpeg(300, 200))
    lines = run(models, COFFEE, tmp_path).stdout.splitlines()
    assert "불연성쓰레기" in lines[0]
    assert "%" in lines[0]
    assert "noise.jpg: " in lines[1]


def test_a_folder_without_photos_is_an_error(models: Path, tmp_path: Path) -> None:
    done = run(models, tmp_path, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no photo" in done.stderr


_MEASURED = """
import pathlib, sys
from eco2.cli.main import app
if __name__ == "__main__":
    app(["vision", "classify", *[sys.argv[1]] * 3], standalone_mode=False)
    print(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def test_it_stays_within_200_mb_from_the_first_run_on(tmp_path: Path) -> None:
    program = tmp_path / "measured.py"
    program.write_text(_MEASURED)
    environment = {**os.environ, "ECO2_MODEL_DIR": str(tmp_path / "models")}
    for _ in range(2):
        command = [sys.executable, str(program), str(COFFEE)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=environment)
        assert int(done.stdout.split()[-1]) <= 200 * 1024
