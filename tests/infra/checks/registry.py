"""Checkers of what Terraform makes: one function each, that yields a sentence for every fault it finds.

`spoil` puts one fault into a copy of a plan; `test_terraform.py` demands that the checker finds nothing in the plans as
they are and something after each of its spoils.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.infra.plans import Plan, Values

Find = Callable[[Plan], Iterable[str]]
Spoil = Callable[[Plan], None]


@dataclass(frozen=True)
class Checker:
    name: str
    find: Find
    spoils: tuple[Spoil, ...]


CHECKERS: dict[str, Checker] = {}


def checker(*spoils: Spoil) -> Callable[[Find], Find]:
    if not spoils:
        raise TypeError("a checker needs a broken fixture")

    def register(find: Find) -> Find:
        CHECKERS[find.__name__] = Checker(find.__name__, find, spoils)
        return find

    return register


def first(plan: Plan, kind: str) -> Values:
    return next(values for _, values in plan.of(kind))
