"""The photo of a message, classified by scan-worker before the words are read."""

import re
from dataclasses import dataclass, replace

from eco2.chat.agent.texts import say
from eco2.contracts.pb import scan_pb2 as scans
from eco2.knowledge import Item, Knowledge, Situation
from eco2.knowledge.answer import Lang, localized
from eco2.knowledge.asking import Asked, understand
from eco2.knowledge.models import Ambiguity
from eco2.knowledge.words.text import is_korean

WORTH_OFFERING = 0.08
"""A guess below it looks like noise, as in a scan."""
MOST_OFFERED = 4
ABOUT = re.compile(
    r"(?:(?:이|그|저|아까|방금|위|찍은|올린|보낸)\s*)*(?:사진|이미지)\s*(?:속에?|안에?)?\s*(?:있는|나온|의)?\s*|"
    r"\b(?:in |on )?(?:this|that|the|my|attached)? ?(?:photo|picture|image)s?\b",
    re.IGNORECASE,
)
"""Words that mean the photo of the message, which is itself nothing to throw away."""


@dataclass(frozen=True)
class Photo:
    """`away`: nobody could look at it. Without an `item` the user chooses from `guesses`, or names it."""

    item: Item | None = None
    situations: tuple[Situation, ...] = ()
    guesses: tuple[Item, ...] = ()
    others: tuple[Item, ...] = ()
    waste: bool = True
    away: bool = False


AWAY = Photo(away=True)


def saw(knowledge: Knowledge, found: scans.ClassifyResponse) -> Photo:
    """Names of another release of the knowledge base are left out."""
    main = knowledge.items.get(found.main.item) if found.HasField("main") and found.waste else None
    guesses = [
        knowledge.items[one.item]
        for one in found.guesses
        if one.item in knowledge.items and one.confidence >= WORTH_OFFERING
    ]
    return Photo(
        item=main,
        situations=tuple(
            knowledge.situations[name] for name in found.main.situations if main and name in knowledge.situations
        ),
        guesses=tuple(guesses[:MOST_OFFERED]) if main is None and found.waste else (),
        others=tuple(knowledge.items[one.item] for one in found.others if one.item in knowledge.items),
        waste=found.waste,
    )


def told(photo: Photo, lang: Lang) -> str:
    """Sentence about what is seen."""
    if photo.away:
        return say("photo_away", lang)
    if not photo.waste:
        return say("photo_no_waste", lang)
    others = say("photo_others", lang, names=_names(photo.others, lang)) if photo.others else ""
    if photo.item is not None:
        main = say("photo_item", lang, name=localized(photo.item, "", lang))
    elif photo.guesses:
        main = say("photo_which", lang, names=_names(photo.guesses, lang))
    else:
        main = say("photo_unsure", lang)
    return " ".join(filter(None, [main, others]))


def _names(items: tuple[Item, ...], lang: Lang) -> str:
    return ", ".join(localized(one, "", lang) for one in items)


def without_words(text: str) -> str:
    """The message without the words that only mean its photo."""
    return " ".join(ABOUT.sub(" ", text).split())


def asked_of(knowledge: Knowledge, text: str, photo: Photo, alone: Asked, district: str) -> Asked | None:
    """The message about the thing in its photo; None where its words are about something else.

    Words win over the photo, as in a scan; a word for several things is the one that the photo shows."""
    item = photo.item
    if item is None or alone.emergency or alone.topics:
        return None
    lang: Lang = "ko" if is_korean(text) or not text else "en"
    if not alone.mentions:
        alone = understand(knowledge, f"{localized(item, '', lang)} {text}".strip(), district or None, lang)
        if all(mention.subject != item for mention in alone.mentions):
            alone = understand(knowledge, localized(item, "", lang), district or None, lang)
    mentions = [
        replace(mention, subject=item)
        if isinstance(mention.subject, Ambiguity) and item.id in mention.subject.candidates
        else mention
        for mention in alone.reading.mentions
    ]
    if all(mention.subject != item for mention in mentions):
        return None
    seen = [
        replace(mention, situations=_joined(knowledge, mention.situations, photo.situations))
        if mention.subject == item
        else mention
        for mention in mentions
    ]
    return replace(alone, reading=replace(alone.reading, mentions=tuple(seen)), refused=False)


def _joined(knowledge: Knowledge, said: tuple[Situation, ...], seen: tuple[Situation, ...]) -> tuple[Situation, ...]:
    return tuple(knowledge.by_precedence([*said, *(one for one in seen if one not in said)]))
