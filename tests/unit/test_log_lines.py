"""Lines of our processes are what the parser of Fluent Bit in the cluster takes them for.

The binary is not part of Debian, PyPI or npm. Its JSON parser is told three things (format, key and form of the time),
and these are held against real lines.
"""

import json
import logging
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from eco2.core import telemetry
from eco2.core.settings import Settings

APPLICATION = Path(__file__).parents[2] / "clusters/base/apps/25-fluent-bit.yaml"


@pytest.fixture(scope="module")
def parser() -> dict[str, str]:
    values = yaml.safe_load(APPLICATION.read_text())["spec"]["source"]["helm"]["valuesObject"]
    lines = values["config"]["customParsers"].strip().splitlines()
    assert lines[0] == "[PARSER]"
    return dict(line.strip().split(" ", 1) for line in lines[1:])


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of a process that says the worst: several lines, quotes, control characters, a traceback, fields of its own."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    monkeypatch.setattr(telemetry, "_setup_tracing", lambda *_: None)  # it can be set up once in a process only
    try:
        telemetry.setup("probe", Settings(environment="local"))
        telemetry.job_id.set("0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11")
        logging.getLogger("eco2.access").info("request", extra={"status": 200, "ms": 1.5, "path": '/a"b\\'})
        logging.getLogger("eco2.scan").warning('two\nlines, "quotes", \x1b[31m and 한글 \u2028')
        try:
            raise ValueError("first\nsecond")
        except ValueError:
            logging.getLogger("eco2.scan").exception("it failed")
    finally:
        telemetry.job_id.set("")
        root.handlers[:], root.level = before
    return capsys.readouterr().out.removesuffix("\n").split("\n")


def test_a_message_is_one_line_of_json(parser: dict[str, str], lines: list[str]) -> None:
    assert parser["Format"] == "json"
    records = [json.loads(line) for line in lines]
    assert [(record["level"], record["process"]) for record in records] == [
        ("INFO", "probe"),
        ("WARNING", "probe"),
        ("ERROR", "probe"),
    ]
    assert {record["job_id"] for record in records} == {"0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"}
    assert records[0]["status"] == 200
    assert "second" in records[2]["exc_info"]


def test_the_time_of_a_line_is_read(parser: dict[str, str], lines: list[str]) -> None:
    """Fluent Bit's `%L` is a fraction of a second, without its point; Python has `%f` for it."""
    form = parser["Time_Format"].replace("%L", "%f")
    for line in lines:
        found = datetime.strptime(json.loads(line)[parser["Time_Key"]], form)  # noqa: DTZ007 - as the parser does
        assert abs((datetime.now() - found).total_seconds()) < 600  # noqa: DTZ005


def test_the_parser_is_the_one_that_the_filter_names(parser: dict[str, str]) -> None:
    values = yaml.safe_load(APPLICATION.read_text())["spec"]["source"]["helm"]["valuesObject"]
    filters = [line.strip() for line in values["config"]["filters"].splitlines()]
    assert f"Parser {parser['Name']}" in filters
    assert "Key_Name log" in filters
