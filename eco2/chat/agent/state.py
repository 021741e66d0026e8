"""The state of a turn between its nodes, and its memory for the next turn."""

import operator
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol, TypedDict

from pydantic import BaseModel, ConfigDict, ValidationError

from eco2.chat.agent.lists import NO_LISTS, Lists
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.agent.seeing import Photo
from eco2.chat.kma import Hour, Square
from eco2.contracts.events import Stage
from eco2.contracts.pb import location_pb2 as places
from eco2.contracts.pb import scan_pb2 as scans
from eco2.core.stored import Reader
from eco2.knowledge import Item, Knowledge
from eco2.knowledge.answer import Lang
from eco2.knowledge.asking import Asked
from eco2.llm.calls import Llm

Json = dict[str, Any]


class Intent(StrEnum):
    """Subjects of a message; a message may have several. The value is what clients see."""

    WASTE = "waste"
    CHARACTER = "character"
    LOCATION = "location"
    BULK_WASTE = "bulk_waste"
    RECYCLABLE_PRICE = "recyclable_price"
    COLLECTION_POINT = "collection_point"
    WEATHER = "weather"
    IMAGE_GENERATION = "image_generation"
    WEB_SEARCH = "web_search"
    GENERAL = "general"


STAGE = {intent: Stage(intent) for intent in Intent if intent is not Intent.WASTE} | {Intent.WASTE: Stage.WASTE}


CARRIED = (
    Intent.BULK_WASTE,
    Intent.RECYCLABLE_PRICE,
    Intent.WEATHER,
    Intent.IMAGE_GENERATION,
    Intent.WEB_SEARCH,
    Intent.COLLECTION_POINT,
    Intent.LOCATION,
)
"""Intents that a few words may go on from without naming them."""
OF_PLACES = (Intent.WEB_SEARCH, Intent.COLLECTION_POINT, Intent.LOCATION)
"""Of these those that the release before did not carry."""
MOST_RECENT = 3
ROUTE_SECONDS = 3.0


class Memory(BaseModel):
    """Subjects that a follow-up may be about."""

    model_config = ConfigDict(frozen=True)

    thing: str = ""
    """The thing that was talked about last, in the words that named it; `item`: its id, where it is known."""
    item: str = ""
    things: tuple[str, ...] = ()
    """All things of the message that named the last one, where it named several."""
    fees: tuple[str, ...] = ()
    """Ids of the things whose fee was asked for, one message after the other."""
    topic: str = ""
    """The last message, where it was about collection itself and no thing."""
    said: str = ""
    """The message that told of it, where that told of its state, too."""
    kinds: tuple[str, ...] = ()
    """Ids of the items that its words may mean."""
    dangerous: bool = False
    """The message told of a danger: it holds for every word about the thing."""
    district: str = ""
    city: str = ""
    """The city whose weather was asked for last."""
    weather: bool = False
    """The weather was asked for in this chat."""
    picture: str = ""
    """The words of the last picture that was asked for."""
    searched: str = ""
    """The words of the last search of the web."""
    choices: tuple[str, ...] = ()
    """Names of the things that were offered, where it was asked which one is meant."""
    photo: str = ""
    """Id of the thing in the last photo that was told for sure."""
    last: str = ""
    """Intent of the last message."""
    subject: str = ""
    """Intent of the last message that a few words may go on from: a fee, a price, the weather, a picture."""
    place: str = ""
    """The same of a search or a place. Apart: the release before knows no words that go on from these."""
    recent: tuple[str, ...] = ()
    """The things before, newest first: a word about a danger may mean any of them."""
    wants_place: bool = False
    """A place was asked for, and where the user is was not known."""

    @property
    def carried(self) -> str:
        return self.subject or self.place

    @classmethod
    def read(cls, knowledge: Knowledge, stored: Json | None) -> "Memory":
        """Of another release: as much as is understood, else nothing. An item alone is the thing that it names."""
        try:
            memory = cls.model_validate(stored or {})
        except ValidationError:
            return cls()
        item = knowledge.items.get(memory.item)
        if item is None or memory.thing:
            return memory
        return memory.model_copy(update={"thing": item.ko})

    def of_item(self, item: Item | None) -> "Memory":
        """The same after a word about this item alone."""
        if item is None:
            return self
        about = {"thing": item.ko, "item": item.id, "said": "", "kinds": (), "dangerous": False, "choices": ()}
        about |= {"things": (), "topic": ""}
        return self.model_copy(update=about)

    def updated(self, parts: "Sequence[Part]") -> "Memory":
        changes: Json = {"last": parts[0].intent.value, "topic": ""} if parts else {}
        carried = next((part.intent for part in parts if part.intent in CARRIED), None)
        changes["subject"] = carried.value if carried and carried not in OF_PLACES else ""
        changes["place"] = carried.value if carried in OF_PLACES else ""
        if any(part.intent is Intent.WEATHER for part in parts):
            changes["weather"] = True
        if changes["subject"] != Intent.BULK_WASTE:
            changes["fees"] = ()
        for part in parts:
            changes |= part.memory
        if self.thing and changes.get("thing", self.thing) != self.thing:
            changes["recent"] = tuple(dict.fromkeys((self.thing, *self.recent)))[:MOST_RECENT]
        return Memory.model_validate(self.model_dump() | changes)


@dataclass(frozen=True)
class Location:
    latitude: float
    longitude: float

    @classmethod
    def read(cls, stored: Json | None) -> "Location | None":
        """As it was stored with a message, or given when it was asked for; None where no place was told."""
        return _LOCATION.read(stored) if stored else None


_LOCATION = Reader(Location)


Day = Literal["today", "tomorrow", "day_after_tomorrow", "in_three_days", "weekend"]
Shop = Literal["refill_shop", "reuse_centre", "any"]


@dataclass(frozen=True)
class Told:
    """Arguments of a message that a paid model told, checked; what its words say themselves goes before them."""

    item: Item | None = None
    """The thing that is meant, where the words name none."""
    city: str = ""
    day: Day | Literal[""] = ""
    shop: Shop = "any"
    characters: tuple[str, ...] = ()
    district: str = ""


@dataclass(frozen=True)
class Question:
    """A message as it came."""

    text: str
    memory: Memory
    location: Location | None = None
    has_image: bool = False
    photo: Photo | None = None
    """None before its photo was looked at, and where it has none."""
    told: Told = Told()


@dataclass(frozen=True)
class Understood:
    """`asked` is about waste; `follows`: it goes on from the thing that was talked about last; `of_photo`: it is about
    the thing in its photo."""

    lang: Lang
    intents: tuple[Intent, ...]
    asked: Asked
    follows: bool = False
    of_photo: bool = False


@dataclass(frozen=True)
class Part:
    """Words of a node. `memory`: the fields of the memory that it changes."""

    intent: Intent
    text: str
    memory: Json = field(default_factory=dict)
    data: Json = field(default_factory=dict)
    image_key: str = ""
    """Object key of a picture that belongs to the answer."""
    said: bool = False
    """Its text went to the client already, piece by piece."""


class Ask(Protocol):
    """Asks the user for an input (`location`, `confirmation`) and waits for it; None where none comes."""

    async def __call__(self, kind: str, message: str) -> Json | None: ...


class Look(Protocol):
    async def __call__(self, *, asked: bool) -> scans.ClassifyResponse: ...


class Pictures(Protocol):
    """Keeps the picture of this turn; object keys."""

    async def find(self) -> str:
        """Of the one that there is already; "" without one."""

    async def keep(self, data: bytes) -> str: ...


class State(TypedDict):
    question: Question
    understood: Understood
    parts: Annotated[list[Part], operator.add]
    answer: str


Forecast = Callable[[Square], Awaitable[list[Hour]]]


class SearchPlaces(Protocol):
    async def __call__(self, request: places.SearchNearbyRequest) -> places.SearchNearbyResponse: ...


@dataclass
class Rest:
    """Time in which a process does not ask a model for intents, after it was late: a call that is cut off holds its
    share of the day's budget for minutes."""

    until: float = float("-inf")
    """By the clock of the event loop (s)."""


async def _keep_nothing(_purpose: str, _reply: Any) -> None:
    return


@dataclass(frozen=True)
class Context:
    """Of one turn: what its nodes use, and how they speak. What there is none of is None."""

    knowledge: Knowledge
    job_id: str
    say: Callable[[str], Awaitable[None]]
    started: Callable[[Stage], Awaitable[None]]
    ended: Callable[[Stage, bool], Awaitable[None]]
    """`ended(stage, ok)`."""
    llm: Llm | None
    model: str
    places: SearchPlaces | None
    own_words: OwnWords
    lists: Lists = NO_LISTS
    search_model: str = ""
    """Model that searches the web."""
    image_model: str = ""
    """Model that draws."""
    pictures: Pictures | None = None
    forecast: Forecast | None = None
    forecast_source: str = ""
    ask: Ask | None = None
    look: Look | None = None
    """Looks at the photo of the message."""
    route_within: float = ROUTE_SECONDS
    """Seconds in which the model may tell the intents; 0: it is not asked."""
    routing_rest: Rest = field(default_factory=Rest)
    paid: Mapping[str, Any] = field(default_factory=dict)
    """Replies of a paid model to an earlier delivery of this turn, by the purpose of the call."""
    keep_paid: Callable[[str, Any], Awaitable[None]] = _keep_nothing
    """`keep_paid(purpose, reply)`: keeps a reply for the next delivery."""
