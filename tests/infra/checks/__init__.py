"""Checkers of what Terraform makes. Importing the package registers all of them."""

from tests.infra.checks import network, nodes, rights, storage

__all__ = ["network", "nodes", "rights", "storage"]
