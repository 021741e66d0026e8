"""Sentences that contradict the chosen stream: those that forbid it, and those that name another."""

import re
from functools import lru_cache

from eco2.knowledge.knowledge import Knowledge

SENTENCE = re.compile(r"(?<=[.!?])\s+")
FORBIDS = {
    "ko": re.compile(r"지 ?(?:는 |도 )?마(?:세요|십시오)|지 ?말고|지 ?않|면 안|안 돼"),
    "en": re.compile(
        r"\b(?:not|never|no|cannot|without|keep\b.{0,40}\bout|instead of|rather than)\b|n't\b", re.IGNORECASE
    ),
}
RISK = {
    "ko": re.compile(r"면 .{0,12}(?:불이 날|위험|터질|폭발)"),
    "en": re.compile(r"\bcan (?:start a fire|explode|burst)|dangerous", re.IGNORECASE),
}
"""Words of a sentence about a bin that must not be used, without a "not"."""
CLAUSE = {"ko": re.compile(r","), "en": re.compile(r";|\band (?:use|put|take)\b")}


@lru_cache(maxsize=8192)
def allowed(knowledge: Knowledge, text: str, stream_id: str, lang: str) -> str:
    """The sentences of a text that do not forbid the stream."""
    return " ".join(s for s in SENTENCE.split(text) if not forbids(knowledge, s, stream_id, lang))


@lru_cache(maxsize=8192)
def of_no_other(knowledge: Knowledge, text: str, stream_id: str, lang: str) -> str:
    """The sentences of a text that send nothing to the bin of another stream."""
    return " ".join(s for s in SENTENCE.split(text) if not _sends_elsewhere(knowledge, s, stream_id, lang))


def forbids(knowledge: Knowledge, sentence: str, stream_id: str, lang: str) -> bool:
    """True for a sentence that says not to use the bin of the stream. In Korean the bin comes before the "not"."""
    bins = _bins(knowledge, stream_id, lang)
    if RISK[lang].search(sentence) and any(name in sentence for name in bins):
        return True
    for clause in CLAUSE[lang].split(sentence):
        for no in FORBIDS[lang].finditer(clause):
            said = clause[: no.start()] if lang == "ko" else clause[no.start() :]
            if any(name in said for name in bins):
                return True
    return False


def _sends_elsewhere(knowledge: Knowledge, sentence: str, stream_id: str, lang: str) -> bool:
    if FORBIDS[lang].search(sentence) or RISK[lang].search(sentence):
        return False
    if any(name in sentence for name in _bins(knowledge, stream_id, lang)):
        return False
    others = (name for stream in knowledge.streams for name in _bins(knowledge, stream, lang))
    return any(name in sentence for name in others)


def _bins(knowledge: Knowledge, stream_id: str, lang: str) -> tuple[str, ...]:
    stream = knowledge.stream(stream_id)
    return stream.bins_ko if lang == "ko" else stream.bins_en
