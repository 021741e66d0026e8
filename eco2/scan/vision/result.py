"""Findings of a model in a photo, in the form that is stored."""

from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Candidate:
    item_id: str
    confidence: float


@dataclass(frozen=True)
class Other:
    """Another thing to throw away in the same photo, told for sure."""

    item_id: str
    confidence: float
    situations: tuple[str, ...] = ()


@dataclass(frozen=True)
class VisionResult:
    """`item_id` is None when the user must choose (`needs_choice`), among `candidates` (three at most) or freely.

    `confidence` is that of the best candidate, or, where `waste` is False, that of there being no waste. `situations`
    are ids of what can be seen of its state (soiled, with contents, …), `evidence` the words and marks that were read
    on it, `others` what else is in the photo, `category` the middle class that is sure where the item is not; a model
    that cannot tell leaves them out.
    """

    item_id: str | None
    confidence: float
    candidates: tuple[Candidate, ...]
    needs_choice: bool
    waste: bool
    model: str
    situations: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    others: tuple[Other, ...] = ()
    category: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        others = [{**other, "situations": tuple(other["situations"])} for other in value.get("others", ())]
        made = {
            "candidates": tuple(Candidate(**candidate) for candidate in value["candidates"]),
            "situations": tuple(value.get("situations", ())),
            "evidence": tuple(value.get("evidence", ())),
            "others": tuple(Other(**other) for other in others),
        }
        return cls(**{**known, **made})
