"""Those of the local edge."""

from tests.integration.edge.test_identity import *  # noqa: F403
