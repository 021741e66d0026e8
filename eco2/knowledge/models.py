"""The shape of the files in data/. Everything is frozen and refuses unknown keys."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Confidence = Literal["high", "medium", "low"]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MajorClass(Model):
    id: int
    name: str
    display_ko: str
    display_en: str
    instructions_ko: tuple[str, ...] = Field(min_length=1)


class ClassLabel(Model):
    """Where the client files something: major class and the middle class below it."""

    major: str
    middle: str


class Classification(Model):
    major_category: str
    middle_category: str
    minor_category: str


class Stream(Model):
    """One way of getting rid of things. `where_ko` completes the sentence "<item>은/는 …"."""

    id: str
    ko: str
    en: str
    kind: Literal["recycle", "return", "dropoff", "bag", "booking", "reuse"]
    class_label: ClassLabel | None = Field(default=None, alias="class")
    where_ko: str


class ItemRecord(Model):
    """An item as written in taxonomy.yaml.

    `skip` names steps of the stream (or advice of situations) that this item's own steps replace; `where_ko`
    replaces the sentence of the stream."""

    id: str
    ko: str
    en: str
    aliases: tuple[str, ...] = ()
    stream: str
    alt_streams: tuple[str, ...] = ()
    class_label: ClassLabel | None = Field(default=None, alias="class")
    where_ko: str = ""
    steps_ko: tuple[str, ...] = ()
    note_ko: str = ""
    note_en: str = ""
    skip: tuple[str, ...] = ()
    deposit_krw: int | None = None
    confidence: Confidence = "high"


class Group(Model):
    id: str
    ko: str
    en: str
    items: tuple[ItemRecord, ...]


class Item(ItemRecord):
    """An item that was placed: its group and the classes the client knows."""

    group: str
    classification: Classification


class Ambiguity(Model):
    """A word that names several items, and the question that tells them apart."""

    term: str
    ask_ko: str
    candidates: tuple[str, ...] = Field(min_length=2)


class Taxonomy(Model):
    majors: tuple[MajorClass, ...]
    recyclable_major: str
    recyclable_middles: tuple[str, ...]
    streams: tuple[Stream, ...]
    ambiguous: tuple[Ambiguity, ...]
    groups: tuple[Group, ...]


class LegalBasis(Model):
    id: str
    ko: str
    covers_ko: str


class Step(Model):
    code: str
    ko: str


class RuleException(Model):
    when: str
    then: str
    ko: str
    confidence: Confidence = "high"


class Contact(Model):
    name: str
    tel: str
    web: str


class Rule(Model):
    """How a stream works. `forbid` are phrases no advice for this stream may contain."""

    stream: str
    basis: tuple[str, ...] = ()
    steps: tuple[Step, ...] = Field(min_length=1)
    do_ko: tuple[str, ...] = ()
    dont_ko: tuple[str, ...] = ()
    exceptions: tuple[RuleException, ...] = ()
    regional_ko: tuple[str, ...] = ()
    contact: Contact | None = None
    forbid: tuple[str, ...] = ()
    confidence: Confidence = "high"


class Rulebook(Model):
    guide_url: str
    legal_basis: tuple[LegalBasis, ...]
    step_labels: dict[str, str]
    rules: tuple[Rule, ...]


class Scope(Model):
    """The items a situation can be about. Without streams and items: all of them."""

    streams: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    except_items: tuple[str, ...] = ()


SituationKind = Literal["safety", "ask", "reroute", "conditional", "prepare", "classify", "none"]


class Situation(Model):
    """A visible or reported condition.

    `fault_ko`: what is wrong or not done yet (decides the reward). `why_ko`: a clause ending in "-니" that
    gives the reason for another stream. `say_ko`: a sentence for the answer. `covered_by`: rule steps that
    already contain `step_ko`."""

    id: str
    group: str
    ko: str
    en: str
    kind: SituationKind
    applies_to: tuple[str, ...] = Field(min_length=1)
    target_stream: str | None = None
    step_ko: str = ""
    fault_ko: str = ""
    why_ko: str = ""
    say_ko: str = ""
    covered_by: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()


class NoItem(Model):
    """What to say and to do when there is no item; `ask_ko` where there is nothing to choose from either."""

    steps_ko: tuple[str, ...] = Field(min_length=1)
    fault_ko: str
    lead_ko: str = ""
    ask_ko: str


class UnknownAnswer(Model):
    """The answers that ask: a photo that could not be told, one without waste, and what is asked of the words.

    `{names}` is replaced by what there is to choose from, `{question}` by that of the ambiguous word."""

    unclear: NoItem
    no_waste: NoItem
    guesses_ko: str
    ambiguous_ko: str
    several_ko: str


class SituationBook(Model):
    precedence: tuple[SituationKind, ...]
    scopes: dict[str, Scope]
    situations: tuple[Situation, ...]
    unknown: UnknownAnswer


class Character(Model):
    code: str
    name: str
    type: str
    match: str | None
    dialog: str


class Cast(Model):
    characters: tuple[Character, ...]
