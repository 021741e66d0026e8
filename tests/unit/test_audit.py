"""Words and exit codes of `make audit`, also when it could not look."""

from pathlib import Path

import pytest

from tools import audit


def away() -> list[str]:
    raise audit.NotKnown("there is no network")


def clean() -> list[str]:
    return []


def found() -> list[str]:
    return ["a.py:1: something"]


@pytest.mark.parametrize(
    ("audits", "code"),
    [([clean, clean], 0), ([clean, away], 2), ([found, clean], 1), ([found, away], 1)],
    ids=["clean", "not known", "found", "found, and not all known"],
)
def test_what_could_not_be_looked_at_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], audits: list[object], code: int
) -> None:
    monkeypatch.setattr(audit, "AUDITS", dict(zip(("one", "other"), audits, strict=True)))
    assert audit.main([]) == code
    said = capsys.readouterr().out
    assert ("NOT KNOWN" in said and "there is no network" in said) == (away in audits)
    assert ("FOUND\n  a.py:1: something" in said) == (found in audits)


def test_a_scan_that_fails_is_not_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("trivy", "bandit"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'no data' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(audit, "TRIVY", tmp_path / "trivy")
    monkeypatch.setattr(audit, "BIN", tmp_path)
    assert {name: audit.audit(name)[0] for name in audit.AUDITS} == {"code": 2, "secrets": 2, "dependencies": 2}


def test_a_planted_secret_is_found(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(audit.PLANTED)
    assert [row.partition(":")[0] for row in audit.secrets_in(tmp_path)] == ["settings.py"]
    (tmp_path / "settings.py").write_text("github_token = environ['GITHUB_TOKEN']\n")
    assert list(audit.secrets_in(tmp_path)) == []
