"""Records of a run: acts of the users, and what a stage took of the machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.load.machine import Usage

SCAN, CHAT, MAP, PAGE = KINDS = ("scan", "chat", "map", "page")
SHARES: Mapping[str, float] = {SCAN: 60, CHAT: 20, MAP: 10, PAGE: 10}


@dataclass(frozen=True)
class Model:
    """Seconds that the emulated model takes for what a photo shows and for an answer: fixed, or log-normal around them
    with a `sigma`."""

    vision: float
    answer: float
    sigma: float = 0

    def __str__(self) -> str:
        spread = f", log-normal (σ {self.sigma:g})" if self.sigma else ""
        return f"{self.vision:g} s + {self.answer:g} s{spread}"


@dataclass(frozen=True)
class Stage:
    """One round of load. `think`: mean seconds of a user between two acts. `repeated`: share of the scans whose photo
    is one of a few popular ones. `shares`: how often each kind of act is chosen. `limit`: of the p95 of its scans."""

    name: str
    users: int
    think: float
    seconds: float
    model: Model
    repeated: float = 0
    shares: Mapping[str, float] = field(default_factory=lambda: SHARES)
    limit: float | None = None


@dataclass(frozen=True)
class Act:
    """One act of a user, from its beginning in seconds of the stage's clock.

    `seconds` until it had all that it wanted, without waits that it was told to make, and of a scan or a message of a
    chat from its submission to the end of its events; None: it failed, as `fault` says. `refusals` were answered 429 or
    503 and tried again; `rude` ones named no Retry-After. `popular`: a scan of a photo that was scanned before."""

    kind: str
    began: float
    seconds: float | None
    fault: str = ""
    job: str | None = None
    refusals: int = 0
    rude: int = 0
    popular: bool = False


@dataclass(frozen=True)
class Seen:
    """A stage when it is over: its acts, CPU between its beginning and its end, lag of the driver's event loop in
    seconds, seconds of the model by job, and the status of each accepted job in the database."""

    stage: Stage
    acts: Sequence[Act]
    usage: Usage
    lags: Sequence[float]
    model_seconds: Mapping[str, float]
    statuses: Mapping[str, str]
    cores: int

    def of(self, kind: str) -> list[Act]:
        return [act for act in self.acts if act.kind == kind]

    @property
    def jobs(self) -> list[Act]:
        """Acts whose job was accepted."""
        return [act for act in self.acts if act.job is not None]
