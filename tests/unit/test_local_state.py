"""Holder of a port that ends before it can be named."""

import psutil
import pytest

from eco2.local import state


def test_a_holder_that_ends_meanwhile_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(pid: int) -> psutil.Process:
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr(state, "_listeners", lambda _: [4_000_000])
    monkeypatch.setattr(psutil, "Process", gone)
    assert state.holder(10001) == "another process"
