"""The tools of data stewards: the linter and the diff."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from eco2.cli.main import app
from eco2.knowledge import Knowledge, default_directory, load
from eco2.knowledge.loading import build
from eco2.knowledge.stewards import lint, sheet

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    return lint.documents(default_directory())


def problems(documents: dict[str, Any], file: str, edit: Edit) -> list[str]:
    book = copy.deepcopy(documents[file])
    edit(book)
    return list(lint.lint(build({**documents, file: book}, "edited")))


def item(book: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for group in book["groups"] for entry in group["items"] if entry["id"] == name)


def rule(book: dict[str, Any], stream: str) -> dict[str, Any]:
    return next(entry for entry in book["rules"] if entry["stream"] == stream)


def test_the_knowledge_base_is_clean() -> None:
    assert lint.check() == []


@pytest.mark.parametrize(
    ("file", "edit", "expected"),
    [
        ("rules.yaml", lambda b: rule(b, "vinyl").update(sources=["moon"]), "vinyl: unknown source moon"),
        ("rules.yaml", lambda b: rule(b, "vinyl").pop("sources"), "vinyl: has no source"),
        ("rules.yaml", lambda b: rule(b, "vinyl")["steps"][0].pop("en"), "vinyl: en is missing"),
        ("rules.yaml", lambda b: rule(b, "vinyl")["dont_en"].pop(), "vinyl: an entry of dont_en is missing"),
        ("taxonomy.yaml", lambda b: item(b, "soju_bottle").update(deposit_krw=55), "soju_bottle: deposit 55"),
        ("taxonomy.yaml", lambda b: item(b, "pizza_box").pop("note_en"), "pizza_box: note_en is missing"),
        ("drop_offs.yaml", lambda b: b.update(drop_offs=[]), "battery_bin: no place takes it"),
    ],
)  # fmt: skip
def test_the_linter_finds_what_is_missing(documents: dict[str, Any], file: str, edit: Edit, expected: str) -> None:
    assert any(expected in problem for problem in problems(documents, file, edit))


def test_commands(tmp_path: Path, documents: dict[str, Any]) -> None:
    runner = CliRunner()
    clean = runner.invoke(app, ["knowledge", "check"])
    assert clean.exit_code == 0
    assert "Clean" in clean.stdout
    for name, book in documents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(yaml.safe_dump(book, allow_unicode=True), encoding="utf-8")
    broken = copy.deepcopy(documents["taxonomy.yaml"])
    item(broken, "pizza_box")["stream"] = "moon"
    (tmp_path / "taxonomy.yaml").write_text(yaml.safe_dump(broken, allow_unicode=True), encoding="utf-8")
    red = runner.invoke(app, ["knowledge", "check", "--data", str(tmp_path)])
    assert red.exit_code == 1
    assert "unknown stream moon" in red.stdout
    told = runner.invoke(app, ["knowledge", "diff", str(default_directory()), "--data", str(tmp_path)])
    assert "pizza_box.stream: paper_cardboard → moon" in told.stdout
    shown = runner.invoke(app, ["knowledge", "show", "피자박스", "--json"])
    assert '"pizza_box: 피자 상자' in shown.stdout
    assert runner.invoke(app, ["knowledge", "show", "없는것"]).exit_code == 1
    asked = runner.invoke(app, ["ask", "피자박스", "--offline", "--json"])
    assert '"stream": "paper_cardboard"' in asked.stdout
    assert runner.invoke(app, ["ask", "피자박스", "--lang", "fr"]).exit_code == 1
    when = runner.invoke(app, ["ask", "마포구 비닐 내놓는 날", "--offline"])
    assert "eco2 up" in when.stderr


def test_the_diff_tells_what_came_went_and_changed() -> None:
    before = {"a.yaml": {"items": [{"id": "x", "ko": "하나", "aliases": ["가", "나"]}, {"id": "y", "ko": "둘"}]}}
    after = {"a.yaml": {"items": [{"id": "x", "ko": "하나", "aliases": ["나", "다"]}, {"id": "z", "ko": "셋"}]}}
    assert sheet.changes(before, after) == [
        "- a.yaml: items.x.aliases: 가",
        "+ a.yaml: items.x.aliases: 다",
        "- a.yaml: items.y: 둘",
        "+ a.yaml: items.z: 셋",
    ]


def test_the_loaded_base_has_its_parts(documents: dict[str, Any]) -> None:
    base: Knowledge = load()
    assert len(base.items) >= 450
    assert len(base.regions) >= 8
    assert len(base.sources) == len(documents["sources.yaml"]["sources"])
