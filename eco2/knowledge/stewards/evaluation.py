"""Scoring the answers to the questions of data/eval, as data/eval/README.md says.

`python -m eco2.knowledge.stewards.evaluation` prints figures by round, language, kind and tag with the worst cases, and
fails where a figure is worse than in the committed report. `--write` replaces that report; `--all` prints every case,
`--round NN` reads one round only.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import orjson
import yaml
from pydantic import TypeAdapter

from eco2.knowledge import Knowledge, ask, default_directory, load
from eco2.knowledge.models import Model
from eco2.knowledge.words.text import normalize

ROUNDS, REPORT = "eval/rounds", "eval/report.json"
KNOWN_ROUND = "round:00"
"""The questions that the first rules were made with: no figures at first sight."""
ALLOWED_DROP = 1.0
"""Points that the share of right answers, or of facts, may fall below the committed report."""
HAZARDOUS = frozenset(("battery_bin", "lamp_bin", "medicine_box", "hazard_box", "professional", "retailer_takeback"))
"""Streams of dangerous things: one that is expected there and not answered is a hazard lost."""
FAULTS = ("language", "empty", "dangerous", "safety", "lost", "stream", "unasked", "asks", "facts")
"""Faults that an answer can have, the worst for people first after what is wrong with all of it."""
GRAVE = ("unasked", "empty", "dangerous", "safety", "lost")
"""Faults that are counted one by one, whatever the share of right answers is."""
Answer = Mapping[str, Any]
Answerer = Callable[["Question"], Answer]
Figures = Mapping[str, Mapping[str, float]]
Kind = Literal["waste", "emergency", "system", "refuse", "clarify"]


class Expected(Model):
    item: str
    streams: tuple[str, ...]


class Question(Model):
    id: str
    lang: str
    tags: tuple[str, ...]
    question: str
    district: str | None = None
    expect: tuple[Expected, ...] = ()
    safety: tuple[tuple[str, ...], ...] = ()
    facts: tuple[tuple[str, ...], ...] = ()
    never: tuple[str, ...] = ()
    kind: Kind = "waste"
    also: Literal["clarify", "refuse"] | None = None
    topic: str | None = None
    round: str = ""


@dataclass(frozen=True)
class Score:
    """`faults`: of FAULTS. `facts`: found and wanted. `got`: the sections of the answer."""

    question: Question
    faults: frozenset[str]
    facts: tuple[int, int]
    got: tuple[str, ...]

    @property
    def right(self) -> bool:
        return not self.faults - ({"facts"} if self.question.kind == "waste" else set())


def questions(directory: Path, wanted: str = "") -> list[Question]:
    """The questions of all rounds, or of those whose name begins as `wanted`."""
    found: list[Question] = []
    for path in sorted((directory / ROUNDS).glob(f"{wanted}*.yaml")):
        content = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        entries = TypeAdapter(list[Question]).validate_python(content)
        found += [entry.model_copy(update={"round": path.stem}) for entry in entries]
    return found


def run(asked: Sequence[Question], answerer: Answerer) -> list[Score]:
    return [score(question, answerer(question)) for question in asked]


def composed(knowledge: Knowledge) -> Answerer:
    return lambda question: ask(knowledge, question.question, question.district)


def score(question: Question, answer: Answer) -> Score:
    """Only the text of the answer and the first stream of each of its sections count."""
    text = answer["answer"].lower()
    streams = [item["stream"] for item in answer["items"]]
    asked_back = bool(answer.get("clarify"))
    turned_back = not streams and (
        (asked_back and "clarify" in (question.kind, question.also))
        or (not asked_back and "refuse" in (question.kind, question.also))
    )
    facts = () if turned_back and question.expect else question.facts
    found = sum(_holds(text, words) for words in facts)
    faults = {
        "language": question.lang in ("ko", "en") and answer["lang"] != question.lang,
        "empty": not text.strip(),
        "dangerous": any(phrase.lower() in text for phrase in question.never),
        "safety": not all(_holds(text, words) for words in question.safety),
        "facts": found < len(facts),
    }
    if not turned_back:
        sections = [Section(item["stream"], _names(question, item, answer["answer"])) for item in answer["items"]]
        faults |= _section_faults(question, sections, asked_back)
    return Score(
        question=question,
        faults=frozenset(name for name, there in faults.items() if there),
        facts=(found, len(facts)),
        got=tuple(f"{item['item']}:{item['stream']}" for item in answer["items"])
        or (("asks",) if asked_back else ("-",)),
    )


def _holds(text: str, words: Iterable[str]) -> bool:
    return any(word.lower() in text for word in words)


@dataclass(frozen=True)
class Section:
    """`names`: the things that a section names as those it is about, in the words of the question."""

    stream: str
    names: tuple[str, ...] = ()


def _names(question: Question, item: Mapping[str, Any], text: str) -> tuple[str, ...]:
    """The names in the heading of a section that is about several things: only those that the question says and the
    answer shows, so that a section counts for no thing that it does not tell of."""
    names = [name for name in str(item.get("name", "")).split(", ") if name in text]
    asked = normalize(question.question)
    told = [name for name in dict.fromkeys(map(normalize, names)) if name and name in asked]
    return tuple(told) if len(told) > 1 else ()


def _section_faults(question: Question, sections: Sequence[Section], asked_back: bool) -> dict[str, bool]:
    dangerous = [expected for expected in question.expect if HAZARDOUS.issuperset(expected.streams)]
    covered, used = _covered(question.expect, sections)
    whole = covered == len(question.expect)
    may_have_more = (question.kind == "emergency" and not question.expect) or (
        question.kind == "clarify" and asked_back
    )
    return {
        "lost": _covered(dangerous, sections)[0] < len(dangerous),
        "stream": not whole,
        "unasked": len(sections) > used and whole and not may_have_more,
        "asks": (question.kind == "clarify" and not asked_back) or (question.kind == "refuse" and not question.expect),
    }


def _covered(wanted: Sequence[Expected], sections: Sequence[Section]) -> tuple[int, int]:
    """(number of wanted entries that are told of, number of sections that tell of them).

    A section tells of one entry, by its stream. One that names several things tells of each entry that is one of them,
    where there is more than one."""
    return max(_best(wanted, slots) for slots in product(*map(_slots, sections)))


@dataclass(frozen=True)
class Slot:
    """Room for one entry in a section. `name`: what the entry must be, "" for anything of its stream."""

    section: int
    stream: str
    name: str = ""


def _slots(section: Section) -> Sequence[tuple[str, tuple[str, ...]]]:
    """The ways to let a section tell of its things: (stream, names of the room that it has)."""
    return [(section.stream, way) for way in [("",), section.names] if way]


def _best(wanted: Sequence[Expected], ways: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[int, int]:
    slots = tuple(Slot(n, stream, name) for n, (stream, names) in enumerate(ways) for name in names)
    single = frozenset(n for n, (_, names) in enumerate(ways) if len(names) == 1)
    return _fill(tuple(wanted), slots, frozenset(), single)


def _fill(
    wanted: tuple[Expected, ...], slots: tuple[Slot, ...], used: frozenset[int], single: frozenset[int]
) -> tuple[int, int]:
    """The most entries that each have a room of their own, and then the most sections that are used."""
    if not wanted or not slots:
        return 0, len(used)
    best = (0, 0)
    seen: set[tuple[object, ...]] = set()
    for place, slot in enumerate(slots):
        alike = (slot.stream, slot.name, slot.section if slot.section not in single else "")
        if slot.stream not in wanted[0].streams or alike in seen or not _is(wanted[0], slot.name):
            continue
        seen.add(alike)
        rest = (*slots[:place], *slots[place + 1 :])
        count, sections = _fill(wanted[1:], rest, used | {slot.section}, single)
        best = max(best, (count + 1, sections))
    if best[0] < len(wanted):
        best = max(best, _fill(wanted[1:], slots, used, single))
    return best


def _is(expected: Expected, name: str) -> bool:
    """True when an entry is the thing that a section names: "가죽 벨트" is a "벨트"."""
    described = normalize(expected.item)
    return name in described or (described in name and bool(described))


def figures(scores: Iterable[Score]) -> dict[str, dict[str, float]]:
    """Per round, language, kind and tag: how many questions, and `_figures` of their answers."""
    groups: dict[str, list[Score]] = defaultdict(list)
    for one in scores:
        asked = one.question
        groups["all"].append(one)
        groups[f"lang:{asked.lang}"].append(one)
        groups[f"round:{asked.round}:{asked.lang}"].append(one)
        groups[f"kind:{asked.kind}"].append(one)
        for tag in asked.tags:
            groups[f"tag:{tag}"].append(one)
    return {name: _figures(group) for name, group in sorted(groups.items())}


def _figures(group: Sequence[Score]) -> dict[str, float]:
    """The shares of right answers and of facts in percent, and the number of answers with each grave fault."""
    wanted = sum(one.facts[1] for one in group)
    return {
        "questions": len(group),
        "right": _percent(sum(one.right for one in group), len(group)),
        "facts": _percent(sum(one.facts[0] for one in group), wanted) if wanted else 100.0,
        **{
            name: sum(name in one.faults for one in group)
            for name in ("unasked", "empty", "dangerous", "safety", "lost")
        },
    }


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1)


def drops(now: Figures, before: Figures) -> list[str]:
    """Languages and rounds that are worse than before. Kinds and tags are shown only: many have few questions."""
    found = []
    for name, old in before.items():
        if not name.startswith(("lang:", "round:")):
            continue
        new = now.get(name)
        if new is None:
            found.append(f"{name}: no questions any more")
            continue
        found += [
            f"{name}: {figure} {old[figure]:g} -> {new[figure]:g}"
            for figure in ("right", "facts")
            if new[figure] < old[figure] - ALLOWED_DROP
        ]
        found += [
            f"{name}: {figure} {old[figure]:g} -> {new[figure]:g}"
            for figure in GRAVE
            if figure != "unasked" and new[figure] > old[figure]
        ]
    return found


def report(directory: Path) -> dict[str, Any]:
    """The committed figures: `now`, and `first_sight` of each round, from before anything was made for it."""
    path = directory / REPORT
    found: dict[str, Any] = orjson.loads(path.read_bytes()) if path.is_file() else {}
    return {"now": {}, "first_sight": {}, **found}


def updated(before: Mapping[str, Any], scores: Sequence[Score]) -> dict[str, Any]:
    """The report with new figures. Those at first sight are written once and never again."""
    now = figures(scores)
    rounds = {name: row for name, row in now.items() if name.startswith("round:") and KNOWN_ROUND not in name}
    return {"now": now, "first_sight": {**rounds, **before["first_sight"]}}


def table(now: Figures, before: Figures) -> str:
    name_width = max(map(len, now), default=0)
    lines = [" ".join([f"{'':<{name_width}} {'n':>4} {'right':>7} {'facts':>7}", *(f"{c:>9}" for c in GRAVE)])]
    for name, row in now.items():
        change = row["right"] - before.get(name, row)["right"]
        cells = [f"{row['questions']:>4.0f} {row['right']:>6.1f}% {row['facts']:>6.1f}%"]
        cells += [f"{row[column]:>9.0f}" for column in GRAVE]
        lines.append(" ".join([f"{name:<{name_width}}", *cells]) + (f"   {change:+.1f}" if change else ""))
    return "\n".join(lines)


def worst(scores: Sequence[Score], most: int) -> str:
    wrong = [one for one in scores if one.faults]
    wrong.sort(key=lambda one: (min(map(FAULTS.index, one.faults)), one.question.round, one.question.id))
    return "\n".join(map(_line, wrong[:most]))


def _line(one: Score) -> str:
    asked = one.question
    wanted = " + ".join("|".join(expected.streams) for expected in asked.expect) or asked.kind
    faults = ", ".join(name for name in FAULTS if name in one.faults)
    told = f"{faults}; got {', '.join(one.got)}; wanted {wanted}"
    return f"{asked.id} [{' '.join(asked.tags)}] {asked.question}\n     {told}"


def main(arguments: Sequence[str]) -> int:
    directory = default_directory()
    wanted = arguments[arguments.index("--round") + 1] if "--round" in arguments[:-1] else ""
    asked = questions(directory, wanted)
    if not asked:
        print(f"There is no round {wanted!r} in {directory / ROUNDS}.", file=sys.stderr)  # noqa: T201
        return 1
    scores = run(asked, composed(load(directory)))
    now, before = figures(scores), report(directory)
    print(worst(scores, 1000 if "--all" in arguments else 20), end="\n\n")  # noqa: T201
    print(table(now, before["now"]))  # noqa: T201
    if "--write" in arguments and not wanted:
        (directory / REPORT).write_bytes(orjson.dumps(updated(before, scores), option=orjson.OPT_INDENT_2) + b"\n")
        return 0
    kept = {name: row for name, row in before["now"].items() if not wanted or name.startswith(f"round:{wanted}")}
    fallen = drops(now, kept)
    print("\n".join(["", *fallen]) if fallen else "")  # noqa: T201
    return bool(fallen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
