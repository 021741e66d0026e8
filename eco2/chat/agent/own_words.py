"""A model's own words, which never give advice on disposal: only sentences of the rules do.

Words arrive in pieces and are held back until a sentence is whole; one that names an item, a material, a danger or a
way of disposal is dropped, so that no part of it is sent.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from prometheus_client import Counter

from eco2.knowledge import Knowledge, recognising
from eco2.knowledge.asking import DANGER, DISPOSAL
from eco2.knowledge.reading import read

LONGEST_SENTENCE = 400
"""Without an end before that, it is dropped."""
_END = re.compile(r"(?<=[.!?…。])\s+|\n+")
_STREAMS = re.compile(
    r"봉투|수거함|하수구|변기|싱크대|쓰레기통|소각|매립|태우|불에|묻어|섞[어으]|구멍|뚫|데우|가열|삶아|망치|부수|부숴|깨서|담가|마셔|삼켜|"
    r"\b(?:bin|bag|drain|toilet|sink|burn|bury|landfill|flush|mix|punctur|pierc|heat|boil|drill|crush|smash|hammer|soak|"
    r"swallow|drink|inhal|gas can)",
    re.IGNORECASE,
)

DROPPED = Counter("eco2_chat_sentences_dropped_total", "Sentences of a model's own that told of waste, or had no end")


_SEPARATED = re.compile(r"(?:\b\w[\W_]+){3,}\w\b")


def _joined(sentence: str) -> str:
    """Without what separates single letters ("태.우.세 요"), where they are."""
    return _SEPARATED.sub(lambda found: "".join(filter(str.isalnum, found[0])), sentence)


class OwnWords:
    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    def allowed(self, sentence: str) -> bool:
        for text in dict.fromkeys((sentence, _joined(sentence))):
            if DISPOSAL.search(text) or DANGER.search(text) or _STREAMS.search(text):
                return False
        if recognising.emergency(self._knowledge, sentence) or recognising.topics(self._knowledge, sentence):
            return False
        reading = read(self._knowledge, sentence)
        return not (reading.mentions or reading.around or reading.material or reading.situations)

    @asynccontextmanager
    async def only(self, say: Callable[[str], Awaitable[None]]) -> AsyncIterator["Sieve"]:
        """Within, pieces given to the sieve go on to `say` sentence by sentence; the rest when the block ends well."""
        sieve = Sieve(self, say)
        yield sieve
        await sieve.rest()


class Sieve:
    def __init__(self, words: OwnWords, say: Callable[[str], Awaitable[None]]) -> None:
        self._words, self._say = words, say
        self._held = ""
        self.passed = ""

    async def take(self, piece: str) -> None:
        self._held += piece
        while end := _END.search(self._held):
            sentence, self._held = self._held[: end.end()], self._held[end.end() :]
            await self._pass(sentence)
        if len(self._held) > LONGEST_SENTENCE:
            await self._pass(self._held)
            self._held = ""

    async def rest(self) -> None:
        held, self._held = self._held, ""
        await self._pass(held)

    async def _pass(self, sentence: str) -> None:
        if not sentence.strip():
            return
        if len(sentence) > LONGEST_SENTENCE or not self._words.allowed(sentence):
            DROPPED.inc()
            return
        self.passed += sentence
        await self._say(sentence)
