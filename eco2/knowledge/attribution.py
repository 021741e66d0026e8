"""Attribution of words to the main item, or to another named item with its own situations."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from eco2.knowledge.answer import Named, decide
from eco2.knowledge.knowledge import DANGEROUS, Knowledge
from eco2.knowledge.mentions import Mention
from eco2.knowledge.models import Ambiguity, Item, Region, Situation
from eco2.knowledge.reading import read
from eco2.knowledge.words.text import remembered, squash

HOLDS = "battery"
"""The scope of what many things hold: what is dangerous about it is dangerous about them."""
BESIDES = re.compile(r".{0,8}도(?:있|요|나왔|나옴|같이|함께|버|들)|(?:s|es)?(?:too|aswell|also)")
IS = re.compile(r"(?:인데|이에요|예요|이예요|에요|입니다|이야|임|같은데|같아요|이라고|라고|맞)")
"""After a word that says what the thing is."""
CONTENT = re.compile(
    r"(?:이|가|을|를|은|는)?(?:아직|좀|조금|많이|다|잔뜩|살짝|심하게|완전히)*"
    r"(?:묻|남|들어있|들었|배[어었여인]|뱄|밴|섞[여였이인]|끼[었어]|낀|붙|범벅|새[요었어]|샜|흘)"
)
HOLDING = re.compile(r"(?:with|of|has|have|had|holds|containing|coveredin|fullof)(?:a|an|the|some|my|old)?$")
"""A word that only says what is in or on the thing names no second one."""
BEFORE = re.compile(r"(?:there(?:s|is|are)(?:also)?|also|plus|anda?n?other|another)(?:a|an|some|my)?$")


@dataclass(frozen=True)
class Told:
    """Situations of the main thing, and what else was named."""

    situations: tuple[Situation, ...] = ()
    others: tuple[Named, ...] = ()


@remembered(512)
def told(knowledge: Knowledge, text: str | None, item: Item, region: Region | None = None) -> Told:
    """Read the words beside a thing that is known."""
    if not text:
        return Told()
    reading = read(knowledge, text)
    others = [m for m in reading.mentions if not _about(knowledge, text, m, item)]
    named = [Named(found, m.situations) for m in others if (found := meant(knowledge, m, region)) and found != item]
    if not named:
        return Told(tuple(knowledge.situations_in(text)))
    own = {s.id: s for m in reading.mentions if m not in others for s in m.situations}
    elsewhere = {s.id for m in reading.mentions for s in m.situations}
    own |= {s.id: s for s in reading.situations if s.id not in elsewhere}
    own |= {s.id: s for m in others if not _besides(text, m) for s in m.situations if _held(knowledge, s, m, item)}
    return Told(tuple(knowledge.by_precedence(list(own.values()))), tuple(dict.fromkeys(named)))


def meant(knowledge: Knowledge, mention: Mention, region: Region | None = None) -> Item | None:
    """The item of a mention: of an ambiguous word what its situation leaves, or what it nearly always means, if any."""
    if isinstance(mention.subject, Item):
        return mention.subject
    return settled(knowledge, mention, region) or knowledge.items.get(mention.subject.default or "")


def settled(knowledge: Knowledge, mention: Mention, region: Region | None = None) -> Item | None:
    """An item of an ambiguous word where what was told makes it go to one place, whichever it is: broken glass."""
    if isinstance(mention.subject, Item):
        return None
    candidates = [knowledge.item(name) for name in mention.subject.candidates]
    outcomes = {item.id: decide(knowledge, item, mention.situations, region) for item in candidates}
    moved = [item for item in candidates if isinstance(outcomes[item.id].cause, Situation)]
    streams = {outcomes[item.id].stream for item in moved}
    if len(streams) != 1:
        return None
    causes = [outcomes[item.id].cause for item in moved]
    if like := next((cause.like for cause in causes if isinstance(cause, Situation) and cause.like), None):
        return knowledge.item(like)
    return next((item for item in candidates if item.stream in streams), moved[0])


@dataclass(frozen=True)
class Called:
    """Name that the words give the thing in a photo. `item`: they settle it. `choices`: what they may mean."""

    item: Item | None = None
    choices: tuple[Item, ...] = ()


def called(knowledge: Knowledge, text: str | None, seen: Item | None, region: Region | None = None) -> Called:
    """Words beat the photo about what the thing is: unless they only name what is in it, a part of it, or one more."""
    if not text:
        return Called(seen)
    mentions = read(knowledge, text).mentions
    about = [
        m for m in mentions if not (_besides(text, m) or _content(text, m) or (seen and _part(knowledge, text, m)))
    ]
    clear = {m.subject.id: m.subject for m in about if isinstance(m.subject, Item)}
    kinds = [m for m in about if not isinstance(m.subject, Item)]
    if seen is None:
        found = [settled(knowledge, m, region) or m.subject for m in about]
        choices = knowledge.choices(found)
        return Called(choices[0] if len(choices) == 1 else None, tuple(choices))
    agrees = seen.id in clear or any(
        isinstance(m.subject, Ambiguity) and seen.id in m.subject.candidates for m in kinds
    )
    if agrees or len(clear) > 1 or not about:
        return Called(seen)
    if clear:
        (item,) = clear.values()
        return Called(item) if not dangerous(seen) or dangerous(item) else Called(None, (item, seen))
    named = [m for m in kinds if IS.match(_parts(text, m)[1])]
    choices = knowledge.choices(m.subject for m in named)
    return Called(None, (*choices, seen)) if choices else Called(seen)


def dangerous(item: Item) -> bool:
    """True where something about the item is marked as danger, or its stream is one of dangerous things."""
    return bool(item.care or item.warns or item.dont_ko) or item.stream in DANGEROUS


def _about(knowledge: Knowledge, text: str, mention: Mention, item: Item) -> bool:
    """True for a mention of the thing itself, or of a part of it: a word for several things names no second one,
    unless it is told as one more."""
    if isinstance(mention.subject, Item):
        harmless = not dangerous(mention.subject) and not _besides(text, mention)
        return (
            mention.subject.id == item.id or _content(text, mention) or (harmless and _part(knowledge, text, mention))
        )
    return item.id in mention.subject.candidates or not _besides(text, mention)


def _besides(text: str, mention: Mention) -> bool:
    """True for a thing that is told as one more: "형광등도 있어요"."""
    before, after = _parts(text, mention)
    return mention.role == "beside" or bool(BESIDES.match(after) or BEFORE.search(before))


def _part(knowledge: Knowledge, text: str, mention: Mention) -> bool:
    """True for a word that names a part of most things ("라벨"), unless it is said to be the thing."""
    parts = knowledge.lexicon.korean.parts | knowledge.lexicon.english.parts
    return mention.span.term in parts and not IS.match(_parts(text, mention)[1])


def _content(text: str, mention: Mention) -> bool:
    before, after = _parts(text, mention)
    return not _besides(text, mention) and bool(CONTENT.match(after) or HOLDING.search(before))


def _parts(text: str, mention: Mention) -> tuple[str, str]:
    """Text before and after the word, without blanks."""
    squashed = squash(text).text
    start = squashed.find(mention.span.term)
    end = start + len(mention.span.term)
    return (squashed[max(0, start - 40) : start], squashed[end:]) if start >= 0 else ("", "")


def _held(knowledge: Knowledge, situation: Situation, mention: Mention, item: Item) -> bool:
    """True where a danger of the named thing is one of the thing that holds it: the battery of a phone."""
    if situation.kind != "safety" or HOLDS not in situation.applies_to or not isinstance(mention.subject, Item):
        return False
    return all(knowledge.applies(situation, thing, thing.stream) for thing in (mention.subject, item))


def dangers(knowledge: Knowledge, items: Sequence[Item], situations: Sequence[Situation]) -> list[Situation]:
    """The situations of safety that concern one of the items; without items those that need no item to be dangerous."""

    def concerns(situation: Situation) -> bool:
        if not items:  # what only prepares a thing, such as letting gas out, needs to know the thing
            return situation.target_stream is not None
        return any(knowledge.applies(situation, item, item.stream) for item in items)

    about = [situation for situation in situations if situation.kind == "safety" and concerns(situation)]
    return about or (dangers(knowledge, [], situations) if items else [])
