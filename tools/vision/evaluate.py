"""How often the embedded model answers and is right, photo by photo through the decision that the worker makes.

Each photo is decided by the head of its fold, which has seen neither it nor any photo like it; the head that is shipped
is the mean of these five. `make eval-vision` prints the table and fails where it falls behind the committed report.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from eco2 import knowledge
from eco2.scan.vision import network
from eco2.scan.vision.beliefs import CATEGORIES, MATERIALS, Floats, Head, Senses
from eco2.scan.vision.embedded import decide

FOLDER = knowledge.default_directory() / "vision"
EVALUATION, REPORT = FOLDER / "evaluation.npz", FOLDER / "report.json"
FOLDS = 5
TOLERANCE = 0.02
"""A share that falls by more fails."""
FEWEST = 100
"""In smaller groups one photo is too much of a change."""
NOTHING_ALLOWED = 0.01
THINGS = ("food", "drawings")
"""Kinds of pictures that are of none of the materials, but do show things that are thrown away."""
TOP = 6.0  # features are means of ReLU6

RIGHT = {material: {category} for material, category in CATEGORIES.items()}
RIGHT["plastic"] |= {"무색페트병"}
RIGHT["trash"] |= {"비닐류", "발포합성수지"}

Ints = npt.NDArray[np.int64]
Json = dict[str, Any]


def pack(features: Floats) -> npt.NDArray[np.uint8]:
    """One byte a feature, finer where features are small."""
    return np.sqrt(features.clip(0, TOP) / TOP * 255**2).round().astype(np.uint8)


def unpack(packed: npt.NDArray[np.uint8]) -> Floats:
    return packed.astype(np.float32) ** 2 * np.float32(TOP / 255**2)


def label_layer() -> tuple[Floats, Floats]:
    """(weights, biases) of the network's last layer: from features to the logits of the labels."""
    weights = network._read_weights(network._weights_bytes())
    return weights["_fc.weight"].T.astype(np.float32), weights["_fc.bias"].astype(np.float32)


def label_probabilities(features: Floats, layer: tuple[Floats, Floats]) -> Floats:
    logits = features @ layer[0] + layer[1]
    exponent = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities: Floats = exponent / exponent.sum(-1, keepdims=True)
    return probabilities


@dataclass(frozen=True)
class Evaluation:
    """Packed features of photos with what they show, and the heads of the folds. `kind`: waste, animals, places, …"""

    features: npt.NDArray[np.uint8]
    label: Ints
    kind: npt.NDArray[np.str_]
    view: npt.NDArray[np.str_]
    fold: Ints
    weights: npt.NDArray[np.float16]  # (folds, inputs, classes)
    biases: npt.NDArray[np.float16]

    @classmethod
    def load(cls, path: Path = EVALUATION) -> Self:
        with np.load(path, allow_pickle=False) as kept:
            return cls(**{name: kept[name] for name in cls.__dataclass_fields__})

    def save(self, path: Path = EVALUATION) -> None:
        np.savez_compressed(path, **{name: getattr(self, name) for name in self.__dataclass_fields__})

    def heads(self, shipped: Head) -> list[Head]:
        return [
            replace(shipped, weights=weights.astype(np.float32), biases=biases.astype(np.float32))
            for weights, biases in zip(self.weights, self.biases, strict=True)
        ]


def outcomes(evaluation: Evaluation, senses: Senses) -> Iterator[tuple[int, str | None, bool]]:
    """(row, category that was answered, whether it was called no waste)."""
    layer = label_layer()
    for fold, head in enumerate(evaluation.heads(senses.head)):
        own = replace(senses, head=head)
        rows = np.flatnonzero(evaluation.fold == fold)
        features = unpack(evaluation.features[rows])
        for row, feature, labels in zip(rows, features, label_probabilities(features, layer), strict=True):
            told = decide(own, feature, labels, "")
            yield int(row), told.category, not told.result.waste


def report(evaluation: Evaluation, senses: Senses) -> Json:
    """Per group of photos: how many, the share answered, and of these the share that is right."""
    category = np.full(len(evaluation.label), None, object)
    nothing = np.zeros(len(evaluation.label), bool)
    for at, answer, no_waste in outcomes(evaluation, senses):
        category[at], nothing[at] = answer, no_waste
    answered = np.array([one is not None for one in category])
    truth = [RIGHT[MATERIALS[label]] if label < len(MATERIALS) else set() for label in evaluation.label]
    right = np.array([one in allowed for one, allowed in zip(category, truth, strict=True)])

    def row(chosen: npt.NDArray[np.bool_]) -> Json:
        told = int((chosen & answered).sum())
        shares = {"answered": told / max(1, int(chosen.sum())), "called_no_waste": float(nothing[chosen].mean())}
        if evaluation.label[chosen].max() < len(MATERIALS):
            shares["right"] = int((chosen & right).sum()) / max(1, told)
        return {"photos": int(chosen.sum()), **{name: round(share, 4) for name, share in shares.items()}}

    waste = evaluation.kind == "waste"
    found = {f"waste, {view}": row(waste & (evaluation.view == view)) for view in ("photo", "varied")}
    of = {name: waste & (evaluation.view == "photo") & (evaluation.label == n) for n, name in enumerate(MATERIALS)}
    found |= {f"waste, photo, {name}": row(chosen) for name, chosen in of.items()}
    for kind in sorted(set(evaluation.kind[~waste])):
        found[f"{'things' if kind in THINGS else 'no waste'}, {kind}"] = row(
            (evaluation.kind == kind) & (evaluation.view == "photo")
        )
    nothing_there = ~waste & ~np.isin(evaluation.kind, THINGS)
    for view in sorted(set(evaluation.view[nothing_there])):
        found[f"no waste, {view}"] = row(nothing_there & (evaluation.view == view))
    return found


def regressions(found: Json, committed: Json) -> list[str]:
    """What fell behind the committed report by more than TOLERANCE."""
    worse = []
    for group, before in committed.items():
        if before["photos"] < FEWEST:
            continue
        for name in ("answered", "right"):
            if name not in before:
                continue
            change = found[group][name] - before[name]
            if not group.startswith("waste"):  # there, answers are mistakes
                change = -change
            if change < -TOLERANCE:
                worse.append(f"{group}: {name} {before[name]:.3f} → {found[group][name]:.3f}")
    return worse


def table(found: Json) -> str:
    lines = [f"{'':28} {'photos':>6} {'answered':>9} {'right':>7} {'called no waste':>16}"]
    for group, row in found.items():
        right = f"{row['right']:7.1%}" if "right" in row else " " * 7
        lines.append(f"{group:28} {row['photos']:6} {row['answered']:9.1%} {right} {row['called_no_waste']:16.1%}")
    return "\n".join(lines)


def main() -> None:
    found = report(Evaluation.load(), Senses.load(FOLDER, knowledge.load()))
    sys.stdout.write(table(found) + "\n")
    if worse := regressions(found, json.loads(REPORT.read_text())["groups"]):
        sys.exit("worse than data/vision/report.json:\n" + "\n".join(worse))


if __name__ == "__main__":
    main()
