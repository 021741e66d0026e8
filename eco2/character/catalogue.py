"""The catalogue, which only changes with a release."""

from collections.abc import Sequence

from eco2.core.rendered import Rendered
from eco2.knowledge import Character


def catalogue(characters: Sequence[Character]) -> Rendered:
    return Rendered.json([{"name": c.name, "type": c.type, "dialog": c.dialog, "match": c.match} for c in characters])
