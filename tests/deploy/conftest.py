import pytest

from tests.deploy import platform as rendering
from tests.deploy.platform import Platform


@pytest.fixture(scope="session")
def platform() -> Platform:
    """This checkout, rendered once."""
    return rendering.load()
