"""Scoring the answers to the questions of data/eval, as data/eval/README.md says.

`python -m eco2.knowledge.stewards.evaluation` prints accuracy by tag and the worst cases, and compares with the
committed report; `--write` replaces that report.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml
from pydantic import TypeAdapter

from eco2.knowledge import Knowledge, ask, default_directory, load
from eco2.knowledge.models import Model
from eco2.knowledge.words.text import advises

QUESTIONS, REPORT = "eval/questions.yaml", "eval/report.json"
ALLOWED_DROP = 2.0
"""Points that a figure may fall below the committed report."""
Answer = Mapping[str, Any]
Answerer = Callable[["Question"], Answer]


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
    facts: tuple[tuple[str, ...], ...] = ()
    never: tuple[str, ...] = ()
    clarify: bool = False
    refuse: bool = False


@dataclass(frozen=True)
class Score:
    """`facts`: found and wanted. `never`: the forbidden phrases that the answer holds."""

    question: Question
    streams: bool
    facts: tuple[int, int]
    never: tuple[str, ...]
    got: tuple[str, ...]

    @property
    def right(self) -> bool:
        return self.streams and not self.never


def questions(directory: Path) -> list[Question]:
    content = yaml.load((directory / QUESTIONS).read_bytes(), Loader=yaml.CSafeLoader)
    return TypeAdapter(list[Question]).validate_python(content)


def run(asked: Sequence[Question], answerer: Answerer) -> list[Score]:
    return [score(question, answerer(question)) for question in asked]


def composed(knowledge: Knowledge) -> Answerer:
    return lambda question: ask(knowledge, question.question, question.district)


def score(question: Question, answer: Answer) -> Score:
    text = "\n".join([answer["answer"], *(step for item in answer["items"] for step in item["steps"])])
    asked_back, streams = bool(answer.get("clarify")), [item["stream"] for item in answer["items"]]
    turned_back = (question.clarify and asked_back) or question.refuse
    excused = turned_back and not streams and bool(question.expect or question.clarify or question.refuse)
    wanted = () if excused else question.facts
    found = sum(any(word.lower() in text.lower() for word in words) for words in wanted)
    return Score(
        question=question,
        streams=_right(question, streams, asked_back, answer["lang"]),
        facts=(found, len(wanted)),
        never=tuple(phrase for phrase in question.never if advises(text, phrase)),
        got=tuple(f"{item['item']}:{item['stream']}" for item in answer["items"])
        or (("asks",) if asked_back else ("-",)),
    )


def _right(question: Question, streams: Sequence[str], asked_back: bool, lang: str) -> bool:
    if lang != question.lang and question.lang in ("ko", "en"):
        return False
    if question.refuse and not streams and not asked_back:
        return True
    if question.clarify and asked_back:
        return True
    if not question.expect:
        return not question.refuse and not question.clarify
    return _covered([expected.streams for expected in question.expect], list(streams))


def _covered(wanted: Sequence[Sequence[str]], streams: list[str]) -> bool:
    """Whether each wanted entry finds a stream of its own."""
    if not wanted:
        return True
    fits = [n for n, stream in enumerate(streams) if stream in wanted[0]]
    return any(_covered(wanted[1:], streams[:n] + streams[n + 1 :]) for n in fits)


def figures(scores: Iterable[Score]) -> dict[str, dict[str, float]]:
    """Per language and per tag: how many, percent right, percent of the facts, answers with dangerous advice."""
    groups: dict[str, list[Score]] = defaultdict(list)
    for score_ in scores:
        for name in (f"lang:{score_.question.lang}", *score_.question.tags):
            groups[name].append(score_)
    return {name: _figures(group) for name, group in sorted(groups.items())}


def _figures(group: Sequence[Score]) -> dict[str, float]:
    wanted = sum(score_.facts[1] for score_ in group)
    return {
        "questions": len(group),
        "right": _percent(sum(score_.right for score_ in group), len(group)),
        "facts": _percent(sum(score_.facts[0] for score_ in group), wanted) if wanted else 100.0,
        "dangerous": sum(bool(score_.never) for score_ in group),
    }


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1)


def drops(now: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Where a figure fell by more than is allowed. Groups too small for a percentage to mean much are left out."""
    found = []
    for name, old in before.items():
        new = now.get(name)
        if new is None:
            found.append(f"{name}: no questions any more")
            continue
        if new["dangerous"] > old["dangerous"]:
            found.append(f"{name}: dangerous answers {old['dangerous']:g} -> {new['dangerous']:g}")
        found += [
            f"{name}: {figure} {old[figure]:g} -> {new[figure]:g}"
            for figure in ("right", "facts")
            if name.startswith("lang:") and new[figure] < old[figure] - ALLOWED_DROP
        ]
    return found


def report(directory: Path) -> dict[str, dict[str, float]]:
    path = directory / REPORT
    found: dict[str, dict[str, float]] = orjson.loads(path.read_bytes()) if path.is_file() else {}
    return found


def table(now: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"{'':<12} {'n':>4} {'right':>7} {'facts':>7} {'danger':>6}   since the report"]
    for name, row in now.items():
        change = row["right"] - before.get(name, row)["right"]
        lines.append(
            f"{name:<12} {row['questions']:>4.0f} {row['right']:>6.1f}% {row['facts']:>6.1f}% {row['dangerous']:>6.0f}"
            + (f"   {change:+.1f}" if change else "")
        )
    return "\n".join(lines)


def worst(scores: Sequence[Score], most: int) -> str:
    wrong = [score_ for score_ in scores if not score_.right or score_.facts[0] < score_.facts[1]]
    wrong.sort(key=lambda score_: (not score_.never, score_.streams, score_.question.id))
    return "\n".join(map(_line, wrong[:most]))


def _line(score_: Score) -> str:
    asked = score_.question
    wanted = " + ".join("|".join(expected.streams) for expected in asked.expect) or ("asks" if asked.clarify else "-")
    faults = [f"ADVISES {phrase}" for phrase in score_.never]
    faults += [f"got {', '.join(score_.got)}; wanted {wanted}"] if not score_.streams else []
    faults += [f"facts {score_.facts[0]}/{score_.facts[1]}"] if score_.facts[0] < score_.facts[1] else []
    return f"{asked.id} [{' '.join(asked.tags)}] {asked.question}\n     {'; '.join(faults)}"


def main(arguments: Sequence[str]) -> int:
    directory = default_directory()
    scores = run(questions(directory), composed(load(directory)))
    now, before = figures(scores), report(directory)
    print(worst(scores, 1000 if "--all" in arguments else 20), end="\n\n")  # noqa: T201
    print(table(now, before))  # noqa: T201
    if "--write" in arguments:
        (directory / REPORT).write_bytes(orjson.dumps(now, option=orjson.OPT_INDENT_2) + b"\n")
        return 0
    fallen = drops(now, before)
    print("\n".join(["", *fallen]) if fallen else "")  # noqa: T201
    return bool(fallen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
