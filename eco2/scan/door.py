"""Checks of a new job before it gets a row."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from eco2.core.errors import TooMany
from eco2.core.turns import AtOnce, Recent, Turns
from eco2.messaging.broker import Publisher
from eco2.scan.admission import Admission
from eco2.scan.errors import ModelUnsupported
from eco2.scan.limits import Limits
from eco2.scan.services import Services

MOST_WAITING = 100
"""Requests of one user that wait for their turn; a turn takes some milliseconds."""
REFUSED_SECONDS = 5.0
"""Time for which a refused user's limits are checked first, before the photo."""


@dataclass(frozen=True)
class Door:
    """Checks that a new job has to pass. One per process."""

    admission: Admission
    limits: Limits
    models: tuple[str, ...]
    tickets_per_minute: int
    turns: Turns = field(default_factory=lambda: Turns(MOST_WAITING))
    refused: Recent = field(default_factory=lambda: Recent(REFUSED_SECONDS))

    waits: AtOnce = field(init=False)
    """Requests that stay until their scan has ended."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "waits", AtOnce(self.limits.open_jobs))

    @asynccontextmanager
    async def turn(self, user: UUID) -> AsyncIterator[None]:
        """The user's turn; remembers a refusal."""
        async with self.turns.turn(user):
            try:
                yield
            except TooMany:
                self.refused.add(user)
                raise


@dataclass(frozen=True)
class ApiServices(Services):
    """Dependencies of scan-api."""

    tasks_publisher: Publisher
    door: Door


def checked_model(model: str | None, known: tuple[str, ...]) -> str | None:
    if model is not None and model not in known:
        raise ModelUnsupported(f"{model!r} is not available; use one of {', '.join(known)}, or none.")
    return model
