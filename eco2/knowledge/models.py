"""The shape of the files in data/. Everything is frozen and refuses unknown keys.

A text has a Korean (`_ko`) and an English (`_en`) version. `sources` are ids of sources.yaml."""

from datetime import date
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

GENERAL_BAG = "general_bag"
"""Id of the stream that clients take for the place of everything but recyclables."""

AT_START = "^"
"""Before a word of an intent that counts only where a written word begins: "개가", but not the end of "베개가"."""

Confidence = Literal["high", "medium", "low"]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MajorClass(Model):
    id: int
    name: str
    display_ko: str
    display_en: str
    instructions_ko: tuple[str, ...] = Field(min_length=1)
    instructions_en: tuple[str, ...] = ()


class Source(Model):
    """Source of a fact. `date` as far as it is known: 2025, 2025-06 or 2025-06-16."""

    id: str
    title: str
    publisher: str
    date: str
    url: str = ""


class SourceBook(Model):
    sources: tuple[Source, ...]


class ClassLabel(Model):
    """Class under which the client files something: the major class and the middle class below it."""

    major: str
    middle: str


class Classification(Model):
    major_category: str
    middle_category: str
    minor_category: str


class Stream(Model):
    """One way of getting rid of things. `where_ko` completes the sentence "<item>은/는 …"; `where_en` is a sentence.

    `first_ko`: the first step of a scan, for clients that take everything but recyclables for general waste: where it
    goes, and that this is not the general bag. `fault_ko`: what has to be arranged before things may go there (decides
    the reward). `bins_ko`: words for its bin, box or bag, by which a sentence that forbids it is known."""

    id: str
    ko: str
    en: str
    kind: Literal["recycle", "return", "dropoff", "bag", "booking", "reuse"]
    class_label: ClassLabel | None = Field(default=None, alias="class")
    where_ko: str
    where_en: str = ""
    first_ko: str = ""
    first_en: str = ""
    fault_ko: str = ""
    fault_en: str = ""
    bins_ko: tuple[str, ...] = ()
    bins_en: tuple[str, ...] = ()


class ItemRecord(Model):
    """An item as written in taxonomy.yaml.

    `skip` names steps of the stream (or advice of situations) that this item's own steps replace; `where_ko`
    replaces the sentence of the stream, and `first_ko` its first step. `care`: how many of its own steps, from the
    first one, are about danger and hold wherever it goes; with `warns` so does `note_ko`, and `dont_ko` always does.
    `forbid` are phrases that no advice about the item may contain, besides those of the rule. Without `sources` those
    of the rule hold."""

    id: str
    ko: str
    en: str
    aliases: tuple[str, ...] = ()
    aliases_en: tuple[str, ...] = ()
    stream: str
    alt_streams: tuple[str, ...] = ()
    class_label: ClassLabel | None = Field(default=None, alias="class")
    where_ko: str = ""
    where_en: str = ""
    first_ko: str = ""
    first_en: str = ""
    steps_ko: tuple[str, ...] = ()
    steps_en: tuple[str, ...] = ()
    care: int = Field(default=0, ge=0)
    warns: bool = False
    dont_ko: tuple[str, ...] = ()
    dont_en: tuple[str, ...] = ()
    note_ko: str = ""
    note_en: str = ""
    skip: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    forbid_en: tuple[str, ...] = ()
    deposit_krw: int | None = None
    confidence: Confidence = "high"
    sources: tuple[str, ...] = ()


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
    """A word that names several items, and the question that tells them apart.

    `default`: the candidate that it nearly always means, where that is harmless; it is answered beside the question."""

    term: str
    terms_en: tuple[str, ...] = ()
    ask_ko: str
    ask_en: str = ""
    candidates: tuple[str, ...] = Field(min_length=2)
    default: str | None = None


class Taxonomy(Model):
    """`no_bag_ko`: the sentence that something must not go into the general bag. `look_alikes`: things that a photo
    hardly tells apart, dangerous ones among them."""

    majors: tuple[MajorClass, ...]
    recyclable_major: str
    recyclable_middles: tuple[str, ...]
    no_bag_ko: str = ""
    no_bag_en: str = ""
    streams: tuple[Stream, ...]
    ambiguous: tuple[Ambiguity, ...]
    look_alikes: tuple[tuple[str, ...], ...] = ()
    groups: tuple[Group, ...]


class LegalBasis(Model):
    id: str
    ko: str
    en: str = ""
    covers_ko: str
    covers_en: str = ""


class Step(Model):
    """`safety`: it is about danger and holds wherever the thing goes. `place`: it says no more than where that is."""

    code: str
    ko: str
    en: str = ""
    safety: bool = False
    place: bool = False


class Condition(Model):
    """Holds for one of the items (of any, where none is named) in one of the situations (likewise)."""

    situations: tuple[str, ...] = ()
    items: tuple[str, ...] = ()


class RuleException(Model):
    """`when` for people, `condition` (written `if`) for the platform."""

    when: str
    when_en: str = ""
    condition: Condition | None = Field(default=None, alias="if")
    then: str
    ko: str
    en: str = ""
    confidence: Confidence = "high"
    sources: tuple[str, ...] = ()


class Contact(Model):
    name: str
    tel: str
    web: str


class Rule(Model):
    """Working of a stream. `forbid` are phrases no advice for this stream may contain. `care`: how many of `dont_ko`,
    from the first one, are about danger and hold wherever the thing goes."""

    stream: str
    basis: tuple[str, ...] = ()
    steps: tuple[Step, ...] = Field(min_length=1)
    do_ko: tuple[str, ...] = ()
    do_en: tuple[str, ...] = ()
    dont_ko: tuple[str, ...] = ()
    dont_en: tuple[str, ...] = ()
    care: int = Field(default=0, ge=0)
    exceptions: tuple[RuleException, ...] = ()
    regional_ko: tuple[str, ...] = ()
    regional_en: tuple[str, ...] = ()
    contact: Contact | None = None
    forbid: tuple[str, ...] = ()
    forbid_en: tuple[str, ...] = ()
    confidence: Confidence = "high"
    sources: tuple[str, ...] = ()


class Deposit(Model):
    """Deposit that is paid back for a bottle of a size."""

    volume_ko: str
    volume_en: str
    krw: int


class Rulebook(Model):
    guide_url: str
    legal_basis: tuple[LegalBasis, ...]
    step_labels: dict[str, str]
    step_labels_en: dict[str, str] = Field(default_factory=dict)
    deposits: tuple[Deposit, ...] = ()
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
    gives the reason for another stream; `why_en`: a whole sentence. `say_ko`: a sentence for the answer.
    `covered_by`: rule steps that already contain `step_ko`. `safety`: which of its texts are about danger and hold
    wherever the thing goes. `like`: the item that a thing in this situation is: what a district does with that one
    holds for it. `instead_of`: situations and rule steps whose advice would be wrong in it (`note`: that of the item).
    """

    id: str
    group: str
    ko: str
    en: str
    kind: SituationKind
    applies_to: tuple[str, ...] = Field(min_length=1)
    target_stream: str | None = None
    step_ko: str = ""
    step_en: str = ""
    fault_ko: str = ""
    fault_en: str = ""
    why_ko: str = ""
    why_en: str = ""
    say_ko: str = ""
    say_en: str = ""
    covered_by: tuple[str, ...] = ()
    safety: tuple[Literal["step", "say"], ...] = ()
    like: str | None = None
    instead_of: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    keywords_en: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


class NoItem(Model):
    """Words and steps for the case that there is no item; `ask_ko` where there is nothing to choose from either."""

    steps_ko: tuple[str, ...] = Field(min_length=1)
    steps_en: tuple[str, ...] = ()
    fault_ko: str
    fault_en: str = ""
    lead_ko: str = ""
    lead_en: str = ""
    ask_ko: str
    ask_en: str = ""


class UnknownAnswer(Model):
    """The answers that ask: a photo that could not be told, one without waste, and what is asked of the words.

    `material` is told first where the material is sure and the thing is not. `{names}` is replaced by what there is to
    choose from, `{question}` by that of the ambiguous word. `hold` is the
    first step where there are candidates, `candidate` that of each: its `{name}`, its `{stream}` and `{where}` it goes.
    """

    unclear: NoItem
    no_waste: NoItem
    hold_ko: str
    hold_en: str = ""
    material_ko: str = "{name}: {where}"
    material_en: str = "{name}: {where}"
    candidate_ko: str
    candidate_en: str = ""
    guesses_ko: str
    guesses_en: str = ""
    ambiguous_ko: str
    ambiguous_en: str = ""
    several_ko: str
    several_en: str = ""


class SituationBook(Model):
    precedence: tuple[SituationKind, ...]
    scopes: dict[str, Scope]
    situations: tuple[Situation, ...]
    unknown: UnknownAnswer


class Intent(Model):
    """Something that a message can be about besides things.

    `when`: alternatives, each a list of groups of words (`words` of its file); it is found where each group of one
    alternative has a word in the sentence, and none of `never` (written `not`) is there."""

    id: str
    ko: str
    en: str
    when: tuple[tuple[str, ...], ...] = ()
    never: tuple[str, ...] = Field(default=(), alias="not")
    sources: tuple[str, ...] = Field(min_length=1)
    confidence: Confidence = "high"


class Emergency(Intent):
    """Somebody is in danger now. `first_ko`: what to do in two lines, the second says whom to call. `items`: what to
    tell of disposal where nothing dangerous is named. `alone`: nothing of disposal is told."""

    call: str
    alone: bool = False
    first_ko: tuple[str, str]
    first_en: tuple[str, str]
    items: tuple[str, ...] = ()


RegionField = Literal["collections", "bag", "fee", "food", "no_pickup"]


class Topic(Intent):
    """A question about how collection works. `alone`: the things that are named only say what it is about. `varies_ko`:
    what differs between districts. `region`: what is told of a district that is known."""

    alone: bool = False
    answer_ko: str
    answer_en: str
    varies_ko: str = ""
    varies_en: str = ""
    region: RegionField | None = None


class Apart(Model):
    """Warning where two of the items are named together: they harm people when they mix."""

    items: tuple[str, ...] = Field(min_length=2)
    say_ko: str
    say_en: str


class IntentBook(Model):
    """`words`: group → its words."""

    words: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @cached_property
    def groups_by_word(self) -> dict[str, dict[str, list[str]]]:
        """First two letters → word → groups that have it: a sentence is compared with some twenty of 2,000 words."""
        found: dict[str, dict[str, list[str]]] = {}
        for group, words in self.words.items():
            for word in words:
                found.setdefault(word.removeprefix(AT_START)[:2], {}).setdefault(word, []).append(group)
        return found


class EmergencyBook(IntentBook):
    emergencies: tuple[Emergency, ...] = ()
    apart: tuple[Apart, ...] = ()


class TopicBook(IntentBook):
    topics: tuple[Topic, ...] = ()


class Character(Model):
    code: str
    name: str
    type: str
    match: str | None
    dialog: str
    dialog_en: str = ""


class Cast(Model):
    characters: tuple[Character, ...]


class DropOff(Model):
    """A kind of place that takes special things. `where_ko`: a sentence that says where such places are."""

    id: str
    ko: str
    en: str
    where_ko: str
    where_en: str
    streams: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


class DropOffBook(Model):
    drop_offs: tuple[DropOff, ...]


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Collection = Literal["general", "food", "recycle", "clear_pet", "vinyl", "noncombustible", "bulky"]


class Pickup(Model):
    """When and where a district collects something. `days` are those of putting out; times are HH:MM (24:00: midnight).

    Without `days` they differ within the district."""

    collection: Collection
    days: tuple[Day, ...] = ()
    from_time: str = ""
    until_time: str = ""
    place_ko: str = ""
    place_en: str = ""
    method_ko: str = ""
    method_en: str = ""


class Override(Model):
    """Departure of a district from the national rule, about one item or a whole stream.

    `then` is the stream things go to there; without it only the advice changes."""

    item: str | None = None
    stream: str | None = None
    then: str | None = None
    ko: str
    en: str
    confidence: Confidence = "high"
    sources: tuple[str, ...] = ()


class Region(Model):
    """One si, gun or gu. `aliases` are other and former names; `part_of` is the id of the region above, whose
    overrides hold as well."""

    id: str
    ko: str
    en: str
    part_of: str | None = None
    aliases: tuple[str, ...] = ()
    pickups: tuple[Pickup, ...] = ()
    bag_ko: str = ""
    bag_en: str = ""
    fee_ko: str = ""
    fee_en: str = ""
    food_ko: str = ""
    food_en: str = ""
    clear_pet_ko: str = ""
    clear_pet_en: str = ""
    no_pickup_ko: str = ""
    no_pickup_en: str = ""
    tel: str = ""
    web: str = ""
    overrides: tuple[Override, ...] = ()
    sources: tuple[str, ...]
    checked: date
    confidence: Confidence = "medium"
