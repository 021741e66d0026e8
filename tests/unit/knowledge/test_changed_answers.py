"""Questions that two states of the rules answer differently, and those that are answered worse."""

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from eco2.cli.main import app
from eco2.knowledge import default_directory, load
from eco2.knowledge.stewards.answers import changed
from eco2.knowledge.stewards.evaluation import Question

HERE = default_directory()


def altered(folder: Path) -> Path:
    """The rules with styrofoam boxes in the general bag."""
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("eval", "vision", "samples", "places"))
    text = (folder / "taxonomy.yaml").read_text(encoding="utf-8")
    start = text.index("- id: styrofoam_box\n")
    stream = text.index("stream: foam", start)
    changed = text[:stream] + text[stream:].replace("foam", "general_bag", 1)
    (folder / "taxonomy.yaml").write_text(changed, encoding="utf-8")
    return folder


def test_only_what_is_answered_differently_is_told_and_the_worse_first(tmp_path: Path) -> None:
    asked = [
        Question.model_validate({"id": "a", "lang": "ko", "tags": [], "question": "건전지 어떻게 버려요?"}),
        Question.model_validate(
            {
                "id": "b",
                "lang": "ko",
                "tags": [],
                "question": "스티로폼 박스 어떻게 버려요?",
                "expect": [{"item": "styrofoam_box", "streams": ["foam"]}],
            }
        ),
    ]
    before, after = load(), load(altered(tmp_path / "data"))
    (one,) = changed(before, after, asked)
    assert (one.id, one.streams_were, one.streams_are) == ("b", ["foam"], ["general_bag"])
    assert "stream" in one.worse
    (back,) = changed(after, before, asked)
    assert back.worse == []
    assert changed(before, before, asked) == []


def test_the_command_ends_badly_where_an_answer_is_worse(tmp_path: Path) -> None:
    worse = altered(tmp_path / "worse")
    questions = [
        {
            "id": "b",
            "lang": "ko",
            "tags": [],
            "question": "스티로폼 박스 어떻게 버려요?",
            "expect": [{"item": "styrofoam_box", "streams": ["foam"]}],
        }
    ]
    (worse / "eval/rounds").mkdir(parents=True)
    (worse / "eval/rounds/00.yaml").write_text(json.dumps(questions, ensure_ascii=False), encoding="utf-8")
    arguments = ["knowledge", "diff", str(HERE), "--data", str(worse)]
    told = CliRunner().invoke(app, [*arguments, "--answers"])
    assert told.exit_code == 1
    assert "1 answers differ; 1 are worse." in told.output
    told = CliRunner().invoke(app, [*arguments, "--answers", "--json"])
    assert [row["id"] for row in json.loads(told.output)] == ["b"]
    assert CliRunner().invoke(app, [*arguments, "--publish"]).exit_code == 1
