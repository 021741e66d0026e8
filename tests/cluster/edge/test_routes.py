"""Those of the local edge."""

from tests.integration.edge.test_routes import *  # noqa: F403
