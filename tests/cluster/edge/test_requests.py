"""Those of the local edge."""

from tests.integration.edge.test_requests import *  # noqa: F403
