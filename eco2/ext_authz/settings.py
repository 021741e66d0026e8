"""Settings of ext-authz."""

from eco2.core.settings import Settings as Settings
