"""Outputs of the stages `vision`, `rule`, `answer` and `reward`, and the one place that knows their stored form.

An output is stored as JSON, in the row of its job and, where a model was paid for it, in the cache. Rules of that form:

- A field that is new gets a default, which stands for its absence: rows of every release before can be read.
- A field that is None by default is left out while it is None: the release before reads what this one stores.
- What changes the meaning of a field raises `FORM` and converts older documents in `read`. A document without `form` is
  of form 1; none of form 1 is marked, since the release before would show the mark to clients.
- A document of a newer form waits for a process of the newer release.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self, TypeVar

import orjson

from eco2.core.errors import Unavailable

Json = dict[str, Any]
Output = TypeVar("Output")

FORM = 1
_MARK = "form"


class NewerForm(Unavailable):
    """This was stored by a newer release; try again in a moment."""


class Unreadable(ValueError):
    """A stored output that no release has written."""


# --- vision -----------------------------------------------------------------------------------------------------------


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

    Besides what the model says: `source`, where the result came from (`eco2.scan.vision.cache.Source`, `cascade` for a
    paid look that was skipped, or `fallback`), and `digest` and `phash` (hex), which tell the photo from others.
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
    source: str | None = None
    phash: str | None = None
    digest: str | None = None


# --- rule, answer, reward ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """An item that the user may choose. `confidence` 0: the words name it, the photo does not show it."""

    middle_category: str
    minor_category: str
    confidence: float


@dataclass(frozen=True)
class Classes:
    major_category: str
    middle_category: str
    minor_category: str


@dataclass(frozen=True)
class Meta:
    user_input: str


@dataclass(frozen=True)
class Classified:
    """`classification_result` of the contract."""

    classification: Classes
    situation_tags: tuple[str, ...]
    meta: Meta


@dataclass(frozen=True)
class Stream:
    """Collection stream of a thing in its situations."""

    id: str
    name: str
    name_en: str
    kind: str


@dataclass(frozen=True)
class FinalAnswer:
    """Of the contract. A reward needs `insufficiencies` empty."""

    disposal_steps: dict[str, str]
    insufficiencies: tuple[str, ...]
    user_answer: str


@dataclass(frozen=True)
class Answer(FinalAnswer):
    """Output of stage `answer`. `source`: where the words came from; None after a choice of the user."""

    source: str | None = None

    @classmethod
    def of(cls, words: FinalAnswer, source: str | None = None) -> Self:
        return cls(words.disposal_steps, words.insufficiencies, words.user_answer, source)

    @property
    def words(self) -> FinalAnswer:
        return FinalAnswer(self.disposal_steps, self.insufficiencies, self.user_answer)


@dataclass(frozen=True)
class OtherThing:
    """Another thing in the photo, with its own answer."""

    classification_result: Classified
    disposal_rules: Json | None
    final_answer: FinalAnswer
    stream: Stream | None
    confidence: float


@dataclass(frozen=True)
class Rule:
    """Output of stage `rule`: an item, or the `candidates` that the user has to choose from (`needs_choice`).

    `waste`: whether the photo shows any; `shown`: whether it bears out that it shows the item; `situations`: ids;
    `material`: an item of the material that is sure while the thing is not; `chosen`: the item that the user chose;
    `none_of_these`: the user refused every candidate.
    """

    item_id: str | None
    stream_id: str | None
    needs_choice: bool
    situations: tuple[str, ...]
    disposal_rules: Json | None
    candidates: tuple[Option, ...]
    waste: bool = True
    chosen: str | None = None
    others: tuple[OtherThing, ...] = ()
    shown: bool = True
    material: str | None = None
    none_of_these: bool = False


@dataclass(frozen=True)
class Reward:
    """Output of stage `reward`: a character of the catalogue."""

    code: str
    name: str
    dialog: str
    match_reason: str
    type: str


# --- the stored form --------------------------------------------------------------------------------------------------


def read(kind: type[Output], stored: Mapping[str, Any]) -> Output:
    """An output from its stored form, of this release or an older one. NewerForm, Unreadable."""
    try:
        if stored.get(_MARK, 1) > FORM:
            raise NewerForm
        return _read(kind, stored)
    except (TypeError, AttributeError) as error:
        raise Unreadable(f"{kind.__name__}: {error}") from error


def attempt(kind: type[Output], stored: Mapping[str, Any] | None) -> tuple[Output | None, Exception | None]:
    """The output, or why it cannot be read: one bad document must not hide the other rows of a page."""
    try:
        return None if stored is None else read(kind, stored), None
    except (NewerForm, Unreadable) as error:
        return None, error


def loads(kind: type[Output], stored: bytes | str) -> Output:
    return read(kind, orjson.loads(stored))


def dumps(output: object) -> bytes:
    optional = _OPTIONAL[type(output)]
    stored = {name: value for name, value in vars(output).items() if value is not None or name not in optional}
    return orjson.dumps(stored if FORM == 1 else {**stored, _MARK: FORM})


def plain(value: Any) -> Any:
    """The same as dicts and lists, for an answer or an event."""
    if is_dataclass(value):
        return {name: plain(part) for name, part in vars(value).items()}
    return [plain(part) for part in value] if isinstance(value, (tuple, list)) else value


def _read(kind: type[Output], stored: Mapping[str, Any]) -> Output:
    values = {name: stored[name] for name in _FIELDS[kind] if name in stored}
    for name, convert in _PARTS.get(kind, ()):
        if values.get(name) is not None:
            values[name] = convert(values[name])
    return kind(**values)


def _one(kind: type[Any]) -> Callable[[Any], Any]:
    return lambda stored: _read(kind, stored)


def _each(kind: type[Any]) -> Callable[[Any], Any]:
    return lambda stored: tuple([_read(kind, part) for part in stored])


_KINDS = (VisionResult, Candidate, Other, Rule, Option, OtherThing, Classified, Classes, Meta, Stream)
_FIELDS: dict[type[Any], tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in (*_KINDS, FinalAnswer, Answer, Reward)
}
_OPTIONAL: dict[type[Any], frozenset[str]] = {
    kind: frozenset(field.name for field in fields(kind) if field.default is None) for kind in _FIELDS
}
_PARTS: dict[type[Any], tuple[tuple[str, Callable[[Any], Any]], ...]] = {
    VisionResult: (
        ("candidates", _each(Candidate)),
        ("situations", tuple),
        ("evidence", tuple),
        ("others", _each(Other)),
    ),
    Other: (("situations", tuple),),
    Rule: (("situations", tuple), ("candidates", _each(Option)), ("others", _each(OtherThing))),
    OtherThing: (
        ("classification_result", _one(Classified)),
        ("final_answer", _one(FinalAnswer)),
        ("stream", _one(Stream)),
    ),
    Classified: (("classification", _one(Classes)), ("situation_tags", tuple), ("meta", _one(Meta))),
    FinalAnswer: (("insufficiencies", tuple),),
    Answer: (("insufficiencies", tuple),),
}
"""Fields that are more than JSON's own values, with what makes them from it."""
