"""Each checker passes this platform and rejects its broken fixtures."""

import pytest

from tests.deploy.checks import Checker, Spoil, load_all
from tests.deploy.platform import Platform

CHECKERS = load_all()
SPOILS = [
    pytest.param(row, spoil, id=f"{row.name}-{spoil.__name__}") for row in CHECKERS.values() for spoil in row.spoils
]


@pytest.mark.parametrize("row", CHECKERS.values(), ids=CHECKERS)
def test_the_platform_passes(row: Checker, platform: Platform) -> None:
    findings = list(row.find(platform))
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(("row", "spoil"), SPOILS)
def test_a_broken_platform_is_rejected(row: Checker, spoil: Spoil, platform: Platform) -> None:
    broken = platform.copy()
    spoil(broken)
    assert list(row.find(broken))
