"""Rates of answers, and of right ones, of the embedded model, photo by photo through the decision of the worker.

Each photo is decided by the head of its fold, which has seen neither it nor any photo like it; the head that is shipped
is the mean of these five. Besides, each material is decided by a head that was trained without it: such photos stand
for all the things that nobody trained it on, and it has to ask. `make eval-vision` prints the table and fails where it
falls behind the committed report.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from eco2 import knowledge
from eco2.scan.vision import network
from eco2.scan.vision.beliefs import CATEGORIES, MATERIALS, Floats, Head, Senses
from eco2.scan.vision.embedded import Decision, decide

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
LEFT_OUT = {**{name: (n,) for n, name in enumerate(MATERIALS)}, "cardboard and paper": (0, 3)}
"""Name of a head that was trained without these materials."""
TOP, STEPS = 16.0, 96  # textures and features are smaller

RIGHT = {material: {category} for material, category in CATEGORIES.items()}
RIGHT["plastic"] |= {"무색페트병"}
RIGHT["trash"] |= {"비닐류", "발포합성수지"}

Ints = npt.NDArray[np.int64]
Json = dict[str, Any]


def pack(features: Floats) -> npt.NDArray[np.int8]:
    """One byte a feature, finer where features are small."""
    steps = (np.sqrt(np.abs(features).clip(0, TOP) / TOP) * STEPS).round()
    packed: npt.NDArray[np.int8] = (np.sign(features) * steps).astype(np.int8)
    return packed


def unpack(packed: npt.NDArray[np.int8]) -> Floats:
    steps = packed.astype(np.float32)
    return np.sign(steps) * steps**2 * np.float32(TOP / STEPS**2)


@cache
def label_layer() -> tuple[Floats, Floats]:
    """(weights, biases) of the network's last layer: from features to the logits of the labels."""
    weights = network._read_weights(network._weights_bytes())
    return weights["_fc.weight"].T.astype(np.float32), weights["_fc.bias"].astype(np.float32)


def label_probabilities(features: Floats, layer: tuple[Floats, Floats]) -> Floats:
    logits = features[..., : network.FEATURES] @ layer[0] + layer[1]
    exponent = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities: Floats = exponent / exponent.sum(-1, keepdims=True)
    return probabilities


@dataclass(frozen=True)
class Evaluation:
    """Packed features of photos, what they show, and heads that have not seen them. `kind`: waste, animals, …"""

    features: npt.NDArray[np.int8]
    label: Ints
    kind: npt.NDArray[np.str_]
    view: npt.NDArray[np.str_]
    fold: Ints
    weights: npt.NDArray[np.float16]  # (folds, inputs, classes)
    biases: npt.NDArray[np.float16]
    left_weights: npt.NDArray[np.float16]  # (LEFT_OUT, inputs, classes)
    left_biases: npt.NDArray[np.float16]

    @classmethod
    def load(cls, path: Path = EVALUATION) -> Self:
        with np.load(path, allow_pickle=False) as kept:
            return cls(**{name: kept[name] for name in cls.__dataclass_fields__})

    def save(self, path: Path = EVALUATION) -> None:
        np.savez_compressed(path, **{name: getattr(self, name) for name in self.__dataclass_fields__})

    def heads(self, shipped: Head) -> list[Head]:
        return [_head(shipped, *layer) for layer in zip(self.weights, self.biases, strict=True)]

    def heads_left_out(self, shipped: Head) -> dict[str, Head]:
        layers = zip(self.left_weights, self.left_biases, strict=True)
        return {name: _head(shipped, *layer) for name, layer in zip(LEFT_OUT, layers, strict=True)}

    def photos_of(self, labels: Sequence[int]) -> Ints:
        """Rows of the photos, without their variations, that show these materials."""
        return np.flatnonzero(np.isin(self.label, labels) & (self.view == "photo"))


def _head(shipped: Head, weights: npt.NDArray[np.float16], biases: npt.NDArray[np.float16]) -> Head:
    return replace(shipped, weights=weights.astype(np.float32), biases=biases.astype(np.float32))


def decisions(evaluation: Evaluation, senses: Senses, head: Head, rows: Ints) -> Iterator[Decision]:
    own, features = replace(senses, head=head), unpack(evaluation.features[rows])
    for feature, labels in zip(features, label_probabilities(features, label_layer()), strict=True):
        yield decide(own, feature, labels, "")


def _shares(evaluation: Evaluation, senses: Senses, rows: Ints, told: Sequence[Decision]) -> Json:
    """Counts of answered and asked; of waste also the right among the answered, and the wrong without a question."""
    count = max(1, len(rows))
    answered = [one for one in told if one.category is not None]
    shares = {
        "answered": len(answered) / count,
        "asked": sum(one.result.needs_choice for one in told) / count,
        "called_no_waste": sum(not one.result.waste for one in told) / count,
    }
    labels = evaluation.label[rows]
    if (labels < len(MATERIALS)).all():
        pairs = list(zip((MATERIALS[label] for label in labels), told, strict=True))
        right = sum(one.category in RIGHT[name] for name, one in pairs)
        shares["right"] = right / max(1, len(answered))
        shares["told_wrong"] = sum(goes_astray(senses, name, one) for name, one in pairs) / count
    return {"photos": len(rows), **{name: round(share, 4) for name, share in shares.items()}}


def goes_astray(senses: Senses, material: str, told: Decision) -> bool:
    """True if an item is answered, without a question, whose stream takes nothing of this material."""
    if told.result.item_id is None:
        return False
    own = {place for place, of in zip(senses.places, senses.material, strict=True) if of == MATERIALS.index(material)}
    return senses.places[senses.item_ids.index(told.result.item_id)] not in own


def report(evaluation: Evaluation, senses: Senses) -> Json:
    """Per group of photos: how many, and the shares of what they are answered."""
    told: dict[int, Decision] = {}
    for fold, head in enumerate(evaluation.heads(senses.head)):
        rows = np.flatnonzero(evaluation.fold == fold)
        told.update(zip(map(int, rows), decisions(evaluation, senses, head, rows), strict=True))

    def row(chosen: npt.NDArray[np.bool_]) -> Json:
        rows = np.flatnonzero(chosen)
        return _shares(evaluation, senses, rows, [told[int(one)] for one in rows])

    waste, photo = evaluation.kind == "waste", evaluation.view == "photo"
    found = {f"waste, {view}": row(waste & (evaluation.view == view)) for view in ("photo", "varied")}
    found |= {f"waste, photo, {name}": row(waste & photo & (evaluation.label == n)) for n, name in enumerate(MATERIALS)}
    for name, head in evaluation.heads_left_out(senses.head).items():
        rows = evaluation.photos_of(LEFT_OUT[name])
        found[f"left out, {name}"] = _shares(evaluation, senses, rows, list(decisions(evaluation, senses, head, rows)))
    for kind in sorted(set(evaluation.kind[~waste])):
        found[f"{'things' if kind in THINGS else 'no waste'}, {kind}"] = row((evaluation.kind == kind) & photo)
    nothing_there = ~waste & ~np.isin(evaluation.kind, THINGS)
    for view in sorted(set(evaluation.view[nothing_there])):
        found[f"no waste, {view}"] = row(nothing_there & (evaluation.view == view))
    return found


def regressions(found: Json, committed: Json) -> list[str]:
    """Figures that fell behind the committed report by more than TOLERANCE."""
    worse = []
    for group, before in committed.items():
        if before["photos"] < FEWEST:
            continue
        for name, better in _aims(group).items():
            change = better * (found[group][name] - before[name])
            if change < -TOLERANCE:
                worse.append(f"{group}: {name} {before[name]:.3f} → {found[group][name]:.3f}")
    return worse


def _aims(group: str) -> dict[str, int]:
    """Share → 1 where more of it is better, -1 where less is."""
    if group.startswith("waste"):
        return {"answered": 1, "right": 1, "told_wrong": -1}
    if group.startswith("left out"):
        return {"asked": 1, "told_wrong": -1}
    return {"answered": -1}


def table(found: Json) -> str:
    columns = {"answered": "answered", "right": "right", "asked": "asked", "told_wrong": "told wrong"}
    columns["called_no_waste"] = "called no waste"
    lines = [f"{'':30} {'photos':>6} " + " ".join(f"{title:>15}" for title in columns.values())]
    for group, row in found.items():
        shares = [f"{row[name]:15.1%}" if name in row else " " * 15 for name in columns]
        lines.append(f"{group:30} {row['photos']:6} {' '.join(shares)}")
    return "\n".join(lines)


def main() -> None:
    found = report(Evaluation.load(), Senses.load(FOLDER, knowledge.load()))
    sys.stdout.write(table(found) + "\n")
    if worse := regressions(found, json.loads(REPORT.read_text())["groups"]):
        sys.exit("worse than data/vision/report.json:\n" + "\n".join(worse))


if __name__ == "__main__":
    main()
