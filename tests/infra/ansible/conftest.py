import pytest

from tests.infra.ansible import playbooks


@pytest.fixture(scope="session", autouse=True)
def _ansible() -> None:
    if not (playbooks.BIN / "ansible-playbook").exists():
        pytest.skip(playbooks.MISSING)
