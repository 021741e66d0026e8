"""Checkers: one function each, that yields a sentence for every fault it finds in the rendered platform.

    @checker(spoil)
    def replicas_are_given(platform: Platform) -> Iterator[str]: ...

`spoil` is the broken fixture: it puts one fault into a copy of the platform. `test_checkers.py` demands that the
checker finds nothing in the platform as it is and something after each of its spoils.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.deploy.platform import Platform

Find = Callable[[Platform], Iterable[str]]
Spoil = Callable[[Platform], None]


@dataclass(frozen=True)
class Checker:
    name: str
    find: Find
    spoils: tuple[Spoil, ...]


CHECKERS: dict[str, Checker] = {}


def checker(*spoils: Spoil) -> Callable[[Find], Find]:
    """Register a checker with its broken fixtures, one at least."""
    if not spoils:
        raise TypeError("a checker needs a broken fixture")

    def register(find: Find) -> Find:
        name = find.__name__
        if name in CHECKERS:
            raise ValueError(f"two checkers are named {name}")
        CHECKERS[name] = Checker(name, find, spoils)
        return find

    return register


def load_all() -> dict[str, Checker]:
    """Import every module of this package, so that its checkers are registered."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return CHECKERS
