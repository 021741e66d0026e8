"""Short cuts: protocol work of our own that is cheaper than the library's (docs/short-cuts.md has what each pays).

Each has a slow twin, the library's own way, which gives the same and takes its place where ECO2_SHORT_CUTS_OFF names
it: for measuring both in one run, and for doing without one whose library has changed under it.
"""

from enum import StrEnum
from functools import cache
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from eco2.core.settings import SettingsGroup


class ShortCut(StrEnum):
    REDIS_LINE = "redis-line"
    """All commands of a process on one connection to Redis (`core/shared_redis.py`)."""
    CHECK_SERVER = "check-server"
    """The HTTP/2 server of ext-authz (`ext_authz/http2.py`)."""
    FORK_SERVER = "fork-server"
    """Services of the local stack forked off one process (`local/fork_server.py`)."""
    POLLED_ROUTE = "polled-route"
    """The status of a job before the framework (`core.app.Shortcut`)."""
    NEAREST_PLACES = "nearest-places"
    """The nearest places before the framework (`core.app.Shortcut`)."""


def _names(value: object) -> object:
    return frozenset(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


class ShortCutSettings(SettingsGroup):
    short_cuts_off: Annotated[frozenset[ShortCut], NoDecode, BeforeValidator(_names)] = frozenset()
    """Names of `ShortCut` with commas between them; none in ordinary use."""


@cache
def _settings() -> ShortCutSettings:
    return ShortCutSettings()


def taken(short_cut: ShortCut) -> bool:
    """False where the slow twin is to be used."""
    return short_cut not in _settings().short_cuts_off
