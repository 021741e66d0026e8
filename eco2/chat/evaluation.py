"""`python -m eco2.chat.evaluation [--write] [--wrong N]`: the conversations of data/eval/chat, turn by turn.

Without a key the rules answer, and beside them two scripted doubles of a paid model take its part (`scripted.py`): one
that routes as expected, one that is always wrong. With a key (ECO2_LLM_…) the paid model does. Places are made up, one
for each search, and fees and prices are the samples: what is graded is whether they were looked for. Fails where a
round has fewer right turns than its report, or anything that must not be said was said.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field

from eco2 import knowledge as kb
from eco2.chat.agent import graph, lists
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.agent.state import Context, Location, Memory, Question, State
from eco2.chat.scripted import KINDS, Scripted
from eco2.contracts.events import Stage
from eco2.contracts.pb import location_pb2 as places
from eco2.contracts.pb import scan_pb2 as scans
from eco2.core import redis
from eco2.knowledge import Knowledge
from eco2.knowledge.words.text import is_korean
from eco2.llm.calls import Llm
from eco2.llm.settings import LlmSettings

Json = dict[str, Any]
REPORT, OWN = "report.json", "00"
"""Round of those who wrote the agent: it has no first sight."""
SAMPLES = kb.default_directory() / "samples"


class Expected(BaseModel):
    """Of one answer. `intents`: all of them; `any_of`: all of one list. `streams`: for each thing those that are right.
    `mentions`: one word of each group. `asks`: whether it asks back. `refers_to`: for people."""

    model_config = ConfigDict(extra="forbid")

    intents: tuple[str, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    streams: tuple[tuple[str, ...], ...] = ()
    mentions: tuple[tuple[str, ...], ...] = ()
    must_not: tuple[str, ...] = ()
    asks: bool | str = "may"
    refers_to: str = ""


class Turn(BaseModel):
    """`image`: id of the item that a photo of the message shows. `district`: where the user lives, as it is known."""

    model_config = ConfigDict(extra="forbid")

    say: str
    image: str | None = None
    district: str | None = None
    lat: float | None = None
    lon: float | None = None
    expect: Expected


class Conversation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    lang: str
    turns: tuple[Turn, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Score:
    conversation: str
    number: int
    turn: Turn
    answer: str
    got: tuple[str, ...]
    faults: frozenset[str]


def conversations(directory: Path) -> dict[str, list[Conversation]]:
    """Round (name of its file) → its conversations."""
    files = sorted((directory / "eval" / "chat").glob("*.yaml"))
    return {
        file.stem: [Conversation.model_validate(one) for one in yaml.safe_load(file.read_text(encoding="utf-8"))]
        for file in files
    }


class Talker:
    """Conversations with the agent, each with a memory of its own."""

    def __init__(self, knowledge: Knowledge, llm: Llm | Scripted | None, model: str) -> None:
        self._knowledge, self._llm, self._model = knowledge, llm, model
        self._lists = lists.load(knowledge, SAMPLES / "bulk_fees.csv", SAMPLES / "recyclable_prices.csv")
        self._graph, self._own_words = graph.build(), OwnWords(knowledge)

    async def talk(self, conversation: Conversation) -> list[Score]:
        memory, scores = Memory(), list[Score]()
        for number, turn in enumerate(conversation.turns, start=1):
            if turn.district:
                memory = memory.model_copy(update={"district": turn.district})
            state = await self._turn(f"{conversation.id}-{number}", turn, memory)
            scores.append(score(conversation, number, turn, state))
            memory = state["question"].memory.updated(state["parts"])
        return scores

    async def _turn(self, job: str, turn: Turn, memory: Memory) -> State:
        async def look(*, asked: bool) -> scans.ClassifyResponse:  # noqa: ARG001
            sight = scans.Sight(item=turn.image or "", confidence=0.95)
            return scans.ClassifyResponse(main=sight, guesses=[sight], waste=True, source="model")

        if isinstance(self._llm, Scripted):
            self._llm.expected = turn.expect.intents or next(iter(turn.expect.any_of), ())
        context = Context(
            knowledge=self._knowledge,
            job_id=job,
            say=_nothing,
            started=_nothing,
            ended=_ended,
            llm=cast(Llm | None, self._llm),
            model=self._model,
            places=_places,
            own_words=self._own_words,
            lists=self._lists,
            look=look,
        )
        at = Location(turn.lat, turn.lon) if turn.lat is not None and turn.lon is not None else None
        question = Question(turn.say, memory, at, has_image=turn.image is not None)
        return await graph.run(self._graph, question, context)


async def _nothing(_: object) -> None:
    return


async def _ended(_stage: Stage, _ok: bool) -> None:
    return


async def _places(request: places.SearchNearbyRequest) -> places.SearchNearbyResponse:  # noqa: ARG001
    found = places.Place(id=1, name="견본 수거 장소", distance_text="120m", road_address="견본로 1")
    return places.SearchNearbyResponse(entries=[found], total_count=1)


def score(conversation: Conversation, number: int, turn: Turn, state: State) -> Score:
    expected, text = turn.expect, state["answer"].lower()
    intents = tuple(intent.value for intent in state["understood"].intents)
    streams = [stream for part in state["parts"] for stream in part.data.get("streams", ())]
    asks = "?" in text or any(part.data.get("needs") for part in state["parts"])
    wanted = expected.any_of or ((expected.intents,) if expected.intents else ())
    faults = {
        "intent": bool(wanted) and not any(set(one) <= set(intents) for one in wanted),
        "stream": not all(set(accepted) & set(streams) for accepted in expected.streams),
        "mentions": not all(any(word.lower() in text for word in group) for group in expected.mentions),
        "must_not": any(phrase.lower() in text for phrase in expected.must_not),
        "asks": isinstance(expected.asks, bool) and asks is not expected.asks,
        "language": conversation.lang == "en" and not is_korean(turn.say) and state["understood"].lang != "en",
        "empty": not text.strip(),
    }
    found = frozenset(name for name, there in faults.items() if there)
    return Score(conversation.id, number, turn, state["answer"], (*intents, *streams), found)


def figures(scores: Sequence[Score]) -> Json:
    wrong = Counter(fault for one in scores for fault in one.faults)
    right = sum(not one.faults for one in scores)
    return {"turns": len(scores), "right": right, "faults": dict(sorted(wrong.items()))}


async def grade(settings: LlmSettings, redis_url: str | None, directory: Path) -> dict[str, list[Score]]:
    async with AsyncExitStack() as stack:
        llm = None
        if settings.endpoints():
            if redis_url is None:
                raise ValueError("Set ECO2_REDIS_CACHE_URL (`eco2 up` has one): the day's spending is counted there.")
            llm = Llm(settings, await stack.enter_async_context(redis.connect(redis_url)))
            stack.push_async_callback(llm.aclose)
        knowledge, found = kb.load(directory), dict[str, list[Score]]()
        models: dict[str, Llm | Scripted | None] = {"": llm}
        if llm is None:
            models |= {f", {kind} double": Scripted(kind) for kind in KINDS}
        for suffix, model in models.items():
            talker = Talker(knowledge, model, settings.llm_default_model)
            for name, round_ in conversations(directory).items():
                found[name + suffix] = [one for conversation in round_ for one in await talker.talk(conversation)]
        return found


class EvaluationSettings(LlmSettings):
    redis_cache_url: str | None = None


def _told(name: str, found: Json, before: Json | None) -> str:
    share = 100 * found["right"] / found["turns"]
    first = f" (at first sight {before['right']})" if before else ""
    faults = ", ".join(f"{fault} {count}" for fault, count in found["faults"].items())
    return f"{name}: {found['right']} of {found['turns']} turns right, {share:.0f} %{first}; wrong: {faults or 'none'}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eco2.chat.evaluation", description="Grade the conversations.")
    parser.add_argument("--write", action="store_true", help="take these figures into the report")
    parser.add_argument("--wrong", type=int, default=10, help="turns to show that are wrong")
    given = parser.parse_args(arguments)
    directory, settings = kb.default_directory(), EvaluationSettings()
    try:
        scores = asyncio.run(grade(settings, settings.redis_cache_url, directory))
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    file = directory / "eval" / "chat" / REPORT
    report = json.loads(file.read_text()) if file.exists() else {"first_sight": {}, "now": {}}
    found = {name: figures(one) for name, one in scores.items()}
    for name, now in found.items():
        print(_told(name, now, report["first_sight"].get(name)))  # noqa: T201
    wrong = [one for each in scores.values() for one in each if one.faults]
    for one in wrong[: given.wrong]:
        said, got, faults = one.turn.say, " ".join(one.got), ", ".join(sorted(one.faults))
        print(f"- {one.conversation}.{one.number} {said!r}: {faults}; got {got}")  # noqa: T201
    if given.write:
        rounds = {name: one for name, one in found.items() if name[:2] != OWN and "," not in name}
        first = {name: report["first_sight"].get(name, one) for name, one in rounds.items()}
        file.write_text(json.dumps({"first_sight": first, "now": found}, indent=2, sort_keys=True) + "\n")
        return 0
    dropped = [name for name, one in found.items() if one["right"] < report["now"].get(name, one)["right"]]
    unsafe = [name for name, one in found.items() if one["faults"].get("must_not")]
    for name in (*dropped, *unsafe):
        print(f"{name} fell behind its report, or says what must not be said.", file=sys.stderr)  # noqa: T201
    return 1 if dropped or unsafe else 0


if __name__ == "__main__":
    sys.exit(main())
