from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.infra import plans
from tests.infra.plans import Plan

SECONDS = 600
"""Fixtures apply whole environments; on a busy machine that takes its time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised copy of terraform/."""
    if not plans.TERRAFORM:
        pytest.skip(plans.MISSING)
    folder = plans.copy_tree(tmp_path_factory.mktemp("configuration"))
    done = plans.terraform(folder, "dev", "init", "-backend=false", "-no-color")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def applied(configuration: Path) -> dict[str, Plan]:
    """Every case, applied with mocks once."""
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda case: plans.apply(configuration, case), plans.CASES)
        return dict(zip(plans.CASES, found, strict=True))
