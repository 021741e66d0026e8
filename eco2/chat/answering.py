"""Answers of the agent without a model: the rules' own sentences, a greeting, or that it does not know.

A follow-up is a message that names no thing of its own. It is read with the last thing of the chat before it.
"""

import re
from dataclasses import dataclass
from typing import Literal

from eco2.chat.store import Json
from eco2.knowledge import Knowledge, asking
from eco2.knowledge.answer import Lang, localized
from eco2.knowledge.asking import Asked

Intent = Literal["waste", "general"]

_GREETING = re.compile(
    r"\s*(안녕|하이|헬로|반가|반갑|고마워|고맙|감사|수고|잘\s*가|잘\s*자|"
    r"hi\b|hello|hey\b|good (?:morning|evening)|thank|bye)"
    r"[^?？]{0,20}$",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[가-힣]{2}|[^\W\d_ㄱ-ㅎㅏ-ㅣ]{2}")
"""Two letters in a row; laughter (ㅎㅎ) and pictures ask nothing."""
_THANKS = re.compile(r"고마|고맙|감사|수고|thank", re.IGNORECASE)
TEXTS: dict[str, dict[Lang, str]] = {
    "greeting": {
        "ko": "안녕하세요! 버릴 물건의 이름을 알려 주시면 어디에 어떻게 버리는지 알려 드려요.",
        "en": "Hello! Tell me what you want to throw away, and I will tell you where it goes and how.",
    },
    "thanks": {
        "ko": "천만에요! 더 궁금한 물건이 있으면 물어보세요.",
        "en": "You are welcome! Ask me about anything else that you want to throw away.",
    },
    "image": {
        "ko": "대화에서는 아직 사진을 볼 수 없어요. 사진은 촬영 화면에서 분석하고, 여기에는 물건의 이름을 적어 주세요.",
        "en": "I cannot look at photos in a chat yet. Scan the photo instead, or tell me what the thing is called.",
    },
}


@dataclass(frozen=True)
class Reply:
    """`memory`: what the next message may be about."""

    intent: Intent
    text: str
    metadata: Json
    memory: Json | None


def reply(knowledge: Knowledge, said: str, memory: Json | None, *, image: bool) -> Reply:
    """The answer to a message; `memory` is that of the message before."""
    asked = asking.understand(knowledge, said)
    if (_GREETING.match(said) or not _WORDS.search(said)) and not _named(asked):
        return Reply("general", TEXTS["thanks" if _THANKS.search(said) else "greeting"][asked.lang], {}, None)
    if image and not _named(asked):
        return Reply("general", TEXTS["image"][asked.lang], {}, None)
    followed = _followed(knowledge, asked, memory)
    body = asking.answer(knowledge, followed or asked)
    items = [entry["item"] for entry in body["items"] if entry["item"]]
    metadata: Json = {
        "items": items,
        "streams": list(dict.fromkeys(entry["stream"] for entry in body["items"])),
        "sources": _sources(body),
    }
    if followed and memory:
        metadata["followed"] = memory["item"]
    metadata |= {name: body[name] for name in ("candidates", "emergency", "topics") if name in body}
    remembered = {"item": items[-1]} if items else None
    return Reply("general" if asked.refused and not followed else "waste", body["answer"], metadata, remembered)


def _named(asked: Asked) -> bool:
    """True where the message itself says what it is about."""
    reading = asked.reading
    return bool(asked.mentions or reading.candidates or asked.emergency or asked.topics)


def _followed(knowledge: Knowledge, asked: Asked, memory: Json | None) -> Asked | None:
    """The message with the last thing before it; None where it needs none, or is about something else."""
    item = knowledge.items.get(str((memory or {}).get("item")))
    if item is None or _named(asked) or asked.which_region:
        return None
    if asking.OFF_TOPIC.search(asked.text) or asking.REQUEST.search(asked.text):
        return None
    again = asking.understand(knowledge, f"{localized(item, '', asked.lang)} {asked.text}", lang=asked.lang)
    return again if again.mentions else None


def _sources(body: Json) -> list[Json]:
    found = {source["title"]: source for entry in body["items"] for source in entry["sources"] if "title" in source}
    return list(found.values())
