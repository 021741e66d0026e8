"""Evidence of a run: what clients saw, and what database, broker and the emulated model hold after it."""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass
class ScanSeen:
    """One scan as its client saw it. Times are seconds of the run's clock; `frames` in the order in which they came."""

    user: str
    submitted: float
    job: str | None = None
    """Set once the platform has accepted it."""
    ended: float | None = None
    frames: list[Json] = field(default_factory=list)
    results: list[Json] = field(default_factory=list)
    """Answers of its result route after the end; two of them, some time apart."""


@dataclass
class TurnSeen:
    """One message of a chat as its client saw it; `answers`: messages that the history shows after it."""

    user: str
    chat: str
    submitted: float
    job: str | None = None
    ended: float | None = None
    frames: list[Json] = field(default_factory=list)
    answers: list[str] | None = None


@dataclass(frozen=True)
class Request:
    at: float
    status: int
    """0: no answer."""


@dataclass(frozen=True)
class Act:
    """Something that a user wanted, with all its attempts: an upload ticket, a scan, a result, a message of a chat."""

    began: float
    seconds: float | None
    """Until it was answered; None: the user gave up."""


@dataclass(frozen=True)
class RevokedUse:
    """A session was ended for good at `revoked` (its logout was answered); it was tried again at `at`."""

    revoked: float
    at: float
    status: int


@dataclass(frozen=True)
class Disturbance:
    """A fault from its beginning until all were ready again; `recovery` seconds of it after the fault had ended."""

    name: str
    began: float
    ended: float
    recovery: float | None
    """None: not all were ready again in time."""


@dataclass(frozen=True)
class JobRow:
    id: str
    user: str
    status: str
    announced: bool
    reward: str | None
    """Character that its reward names."""


@dataclass
class Evidence:
    scans: list[ScanSeen] = field(default_factory=list)
    turns: list[TurnSeen] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    """Each attempt."""
    revoked: list[RevokedUse] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    jobs: dict[str, JobRow] = field(default_factory=dict)
    turn_states: dict[str, str] = field(default_factory=dict)
    """Turn → its status in the database."""
    calls: dict[str, dict[str, Json]] = field(default_factory=dict)
    """Job → purpose → `calls` and `answers` of the emulated model."""
    owned: set[tuple[str, str]] = field(default_factory=set)
    """(user, character) in the database."""
    points: list[str] = field(default_factory=list)
    """Jobs of the ledger of points, one for each row."""
    unsent: dict[str, int] = field(default_factory=dict)
    """Table → messages of its outbox that were never delivered."""
    waiting: dict[str, int] = field(default_factory=dict)
    """Queue of work → messages left in it."""
    dead: dict[str, list[str]] = field(default_factory=dict)
    """Queue of dead letters → ids of its messages."""
    poison: set[str] = field(default_factory=set)
    """Ids of messages that the run itself sent to be refused."""
