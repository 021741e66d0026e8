"""Trains the material head on the output of `tools.vision.features` and writes head, evaluation data and report.

Everything is chosen by five-fold cross-validation over blocks: photos that look alike, and all variations of a photo,
are in one block. Heads trained without a material show what becomes of things that nobody trained it on. The costs that
the thresholds weigh: an abstention 1, a wrong answer 5, glass told as plastic five times that, and an answer to a photo
of a material that was left out 0.5, for such things are rarer. Every random choice has a fixed seed.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eco2 import knowledge
from eco2.scan.vision import network
from eco2.scan.vision.beliefs import ANSWERED, CATEGORIES, MATERIALS, Floats, Head, Senses, believe
from eco2.scan.vision.embedded import witnessed
from tools.vision.evaluate import (
    FOLDER,
    FOLDS,
    LEFT_OUT,
    REPORT,
    THINGS,
    Evaluation,
    Ints,
    decisions,
    goes_astray,
    label_layer,
    label_probabilities,
    pack,
    report,
    table,
    unpack,
)
from tools.vision.features import NOTHING, empty_head
from tools.vision.regression import fit, softmax

ALIKE = 0.8
"""Cosine of the features of two photos of one thing."""
PENALTIES = (0.03, 0.1)
VARIED_WEIGHT, NOTHING_WEIGHT = 0.3, 0.3
WRONG_COST, GLASS_IN_PLASTIC, UNKNOWN_COST = 5.0, 5.0, 0.5
SURE = np.arange(0.45, 0.97, 0.03)
WITNESSED = np.arange(0, 1, 0.005)
MOST_NOTHING, SURE_ITEM = 0.6, 0.75
ENOUGH = {"photo": 0.81, "varied": 0.55}
"""Shares of the photos of waste, and of their variations, that have to be answered."""
RIGHT_ENOUGH = 0.965
"""Of the answered photos."""
UNKNOWN_TOLD = 0.045
"""Share of the photos of a material that was left out that may be told without a question."""
NOTHING_ANSWERED = 0.0095
"""Share of the photos of no waste that the head may answer; the labels may add to it."""

Bools = npt.NDArray[np.bool_]
Halves = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Pictures:
    number: Ints
    label: Ints
    kind: npt.NDArray[np.str_]
    view: npt.NDArray[np.str_]
    features: Floats
    labels: Floats
    inputs: Floats
    fold: Ints

    def where(self, chosen: Bools | Ints) -> dict[str, Any]:
        return {name: getattr(self, name)[chosen] for name in self.__dataclass_fields__}

    @property
    def weight(self) -> Floats:
        """Each photo of waste counts as much as its variations together."""
        waste = np.where(self.view == "varied", VARIED_WEIGHT, 1)
        return np.where(self.label == NOTHING, NOTHING_WEIGHT, waste).astype(np.float32)


def load(path: Path, senses: Senses) -> Pictures:
    with np.load(path, allow_pickle=False) as kept:
        number, label, kind, view = (kept[name] for name in ("number", "label", "kind", "view"))
        features = unpack(pack(kept["features"].astype(np.float32)))
    labels = label_probabilities(features, label_layer())
    inputs = senses.inputs(features, labels)
    photo = view == "photo"
    fold = folds(number[photo], blocks(features[photo, : network.FEATURES], label[photo]))
    return Pictures(number, label, kind, view, features, labels, inputs, np.array([fold[n] for n in number]))


def blocks(features: Floats, label: Ints) -> Ints:
    """A block number for each photo; photos of one label that look alike share it."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    alike = (unit @ unit.T > ALIKE) & (label[:, None] == label)
    block = np.arange(len(label))
    while True:
        lowest = np.array([block[row].min() for row in alike])
        if (lowest == block).all():
            return block
        block = lowest


def folds(number: Ints, block: Ints) -> dict[int, int]:
    """Photo number → fold, the same for all photos of a block."""
    drawn = np.random.default_rng(1).integers(0, FOLDS, block.max() + 1)
    return {int(one): int(drawn[of]) for one, of in zip(number, block, strict=True)}


def cross_fit(pictures: Pictures, penalty: float) -> tuple[list[tuple[Floats, Floats]], Floats]:
    """(the layer of each fold, the logits that each picture gets from the layer of its own fold)."""
    layers, logits = [], np.zeros((len(pictures.label), NOTHING + 1), np.float32)
    for fold in range(FOLDS):
        others, own = pictures.fold != fold, pictures.fold == fold
        given = (pictures.inputs[others], pictures.label[others].astype(np.int64), pictures.weight[others])
        layers.append(fit(*given, classes=NOTHING + 1, l2=penalty))
        logits[own] = pictures.inputs[own] @ layers[-1][0] + layers[-1][1]
    return layers, logits


def leave_out(pictures: Pictures, penalty: float) -> dict[str, tuple[Floats, Floats]]:
    """Name in LEFT_OUT → the layer trained without these materials."""
    layers = {}
    for name, left in LEFT_OUT.items():
        rest = ~np.isin(pictures.label, left)
        given = (pictures.inputs[rest], pictures.label[rest].astype(np.int64), pictures.weight[rest])
        layers[name] = fit(*given, classes=NOTHING + 1, l2=penalty)
    return layers


def log_loss(logits: Floats, pictures: Pictures, temperature: float = 1.0) -> float:
    told = softmax(logits / temperature)[np.arange(len(logits)), pictures.label]
    return float(np.average(-np.log(told + 1e-9), weights=pictures.weight))


def cooled(logits: Floats, pictures: Pictures) -> float:
    """The temperature at which the probabilities are honest."""
    choices = np.arange(0.4, 2.01, 0.02)
    return float(min(choices, key=lambda temperature: log_loss(logits, pictures, float(temperature))))


@dataclass(frozen=True)
class Lead:
    """The leading category of each picture: its place in ANSWERED, -1 where it may not be told; its probability."""

    category: Ints
    share: Floats

    @classmethod
    def of(cls, logits: Floats, labels: Floats, senses: Senses, temperature: float) -> "Lead":
        names = list(dict.fromkeys(CATEGORIES.values()))
        probabilities = softmax(logits / temperature)
        grouped = np.zeros((len(logits), len(names)), np.float32)
        for n, material in enumerate(MATERIALS):
            grouped[:, names.index(CATEGORIES[material])] += probabilities[:, n]
        place = np.array([ANSWERED.index(name) if name in ANSWERED else -1 for name in names])[grouped.argmax(1)]
        hints = senses.look_alikes.masses(labels)
        for row, category in enumerate(place):
            if category >= 0 and senses.look_alikes.hinted(ANSWERED[category], hints[row]):
                place[row] = -1
        return cls(np.where(labels @ senses.not_waste > MOST_NOTHING, -1, place), grouped.max(1))

    def told(self, category: int, least: float) -> Bools:
        found: Bools = (self.category == category) & (self.share >= least)
        return found


def sure_from(pictures: Pictures, lead: Lead, unknown: Mapping[str, Lead]) -> dict[str, float]:
    """The least probability of each category that costs least, answers enough waste and little of what is none."""
    place = {name: n for n, name in enumerate(ANSWERED)}
    truth = np.array([*(place.get(CATEGORIES[material], -2) for material in MATERIALS), -2])[pictures.label]
    glass, plastic = ANSWERED.index("유리병"), ANSWERED.index("플라스틱류")
    waste, weight = pictures.label != NOTHING, pictures.weight / pictures.weight[pictures.label != NOTHING].sum()
    plain = ~waste & (pictures.view == "photo") & ~np.isin(pictures.kind, THINGS)
    rows: list[Floats] = []  # per category, per threshold: cost, photos, variations, pictures of no waste
    for n in range(len(ANSWERED)):
        found = []
        for least in SURE:
            told = lead.told(n, float(least))
            wrong = told & waste & (truth != n)
            dear = wrong & (truth == glass) if n == plastic else np.zeros_like(wrong)
            cost = WRONG_COST * (weight[wrong].sum() + (GLASS_IN_PLASTIC - 1) * weight[dear].sum())
            strange = np.mean([one.told(n, float(least)).mean() for one in unknown.values()])
            price = cost - weight[told & waste].sum() + UNKNOWN_COST * strange
            shares = [told[waste & (pictures.view == view)].mean() for view in ENOUGH]
            right = (told & ~wrong)[waste & (pictures.view == "photo")].mean()
            found.append([price, *shares, right, told[plain].mean()])
        rows.append(np.array(found, np.float32))
    grid = np.stack(np.meshgrid(*[np.arange(len(SURE))] * len(ANSWERED), indexing="ij"), -1).reshape(-1, len(ANSWERED))
    price, photo, varied, right, nothing = np.sum([row[grid[:, n]] for n, row in enumerate(rows)], 0).T
    missing = np.maximum(ENOUGH["photo"] - photo, ENOUGH["varied"] - varied).clip(0)
    mistaken = (RIGHT_ENOUGH - right / photo).clip(0).round(4)
    best = np.lexsort((price, mistaken, missing.round(3), (nothing - NOTHING_ANSWERED).clip(0).round(4)))[0]
    return {name: round(float(SURE[grid[best, n]]), 3) for n, name in enumerate(ANSWERED)}


def would_mislead(evaluation: Evaluation, senses: Senses) -> dict[str, tuple[int, list[tuple[str, float]]]]:
    """Of each head trained without some materials: how many photos of these, and the ones it would tell wrongly.

    (leading category, what the labels give to things that go where it would send it)
    """
    found = {}
    blind = replace(senses.head, witnessed=dict.fromkeys(ANSWERED, 0.0))
    for name, head in evaluation.heads_left_out(blind).items():
        rows = evaluation.photos_of(LEFT_OUT[name])
        own, features = replace(senses, head=head), unpack(evaluation.features[rows])
        labels = label_probabilities(features, label_layer())
        astray = []
        for row, told in enumerate(decisions(evaluation, senses, head, rows)):
            if told.material is not None and goes_astray(senses, MATERIALS[evaluation.label[rows[row]]], told):
                beliefs = believe(own, features[row], labels[row])
                astray.append((CATEGORIES[told.material], witnessed(own, beliefs)))
        found[name] = (len(rows), astray)
    return found


def witnessed_from(misled: Mapping[str, tuple[int, list[tuple[str, float]]]]) -> dict[str, float]:
    """Label masses as low as they can be while few photos of a material that was left out are told wrongly.

    The categories take turns: each goes down a step where that is still few enough.
    """
    least = dict.fromkeys(ANSWERED, 1.0)
    for step in WITNESSED[::-1]:
        for category in ANSWERED:
            lower = {**least, category: round(float(step), 3)}
            if all(told_share(one, lower) <= UNKNOWN_TOLD for one in misled.values()):
                least = lower
    return least


def told_share(misled: tuple[int, list[tuple[str, float]]], witnessed: Mapping[str, float]) -> float:
    """Share of the photos that are told wrongly, without a question."""
    count, astray = misled
    return sum(mass >= witnessed.get(category, 2.0) for category, mass in astray) / count


def strangers(
    pictures: Pictures, layers: Mapping[str, tuple[Floats, Floats]], senses: Senses, temperature: float
) -> dict[str, Lead]:
    """Of each head trained without some materials: what leads in the photos of these, where it would be wrong."""
    found = {}
    for name, (weights, biases) in layers.items():
        if set(LEFT_OUT[name]) in ({MATERIALS.index("cardboard")}, {MATERIALS.index("paper")}):
            continue  # one stands for the other, rightly
        rows = np.isin(pictures.label, LEFT_OUT[name]) & (pictures.view == "photo")
        logits = pictures.inputs[rows] @ weights + biases
        found[name] = Lead.of(logits, pictures.labels[rows], senses, temperature)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path, help="what tools.vision.features wrote")
    parser.add_argument("--penalties", type=float, nargs="+", default=PENALTIES, help="to choose from")
    given = parser.parse_args()
    base = knowledge.load()
    senses = Senses.of(FOLDER, base, empty_head())
    pictures = load(given.features, senses)
    tried = {penalty: cross_fit(pictures, penalty) for penalty in given.penalties}
    losses = {p: log_loss(logits, pictures, cooled(logits, pictures)) for p, (_, logits) in tried.items()}
    penalty = min(losses, key=lambda one: losses[one])
    layers, logits = tried[penalty]
    left = leave_out(pictures, penalty)
    temperature = cooled(logits, pictures)
    unknown = strangers(pictures, left, senses, temperature)
    sure = sure_from(pictures, Lead.of(logits, pictures.labels, senses, temperature), unknown)
    weights = np.array([layer[0] for layer in layers]).astype(np.float16)
    biases = np.array([layer[1] for layer in layers]).astype(np.float16)
    kept(pictures, weights, biases, left).save()
    choose(
        weights,
        biases,
        temperature,
        sure,
        {"penalty": penalty, "log_loss": {p: round(x, 4) for p, x in losses.items()}},
    )


def choose(
    weights: Halves, biases: Halves, temperature: float, sure: Mapping[str, float], told: dict[str, Any]
) -> None:
    """Write the mean of the heads with its thresholds, and the report."""
    base = knowledge.load()
    of_folds = (weights.astype(np.float32).mean(0), biases.astype(np.float32).mean(0))
    never = dict.fromkeys(ANSWERED, 0.0)
    head = Head(*of_folds, temperature, sure, never, SURE_ITEM, MOST_NOTHING, "new")
    misled = would_mislead(Evaluation.load(), Senses.of(FOLDER, base, head))
    witnesses = witnessed_from(misled)
    np.savez_compressed(
        FOLDER / "head.npz",
        weights=of_folds[0].astype(np.float16),
        biases=of_folds[1].astype(np.float16),
        numbers=np.array([temperature, SURE_ITEM, MOST_NOTHING], np.float32),
        sure=np.array([sure[name] for name in ANSWERED], np.float32),
        witnessed=np.array([witnesses[name] for name in ANSWERED], np.float32),
    )
    found = report(Evaluation.load(), Senses.load(FOLDER, base))
    told |= {"temperature": round(temperature, 2), "sure": dict(sure), "witnessed": witnesses}
    told["unseen"] = {  # the thresholds from the other materials
        name: round(told_share(one, witnessed_from({k: v for k, v in misled.items() if not _share(k, name)})), 4)
        for name, one in misled.items()
    }
    REPORT.write_text(json.dumps({"chosen": told, "groups": found}, ensure_ascii=False, indent=1) + "\n")
    print(told)
    print(table(found))


def _share(one: str, other: str) -> bool:
    return bool(set(LEFT_OUT[one]) & set(LEFT_OUT[other]))


def kept(pictures: Pictures, weights: Halves, biases: Halves, left: Mapping[str, tuple[Floats, Floats]]) -> Evaluation:
    """Committed training set: each photo, a variation of every other one, small pictures of animals and places."""
    first = np.unique(np.stack([pictures.number, pictures.view == "varied"], 1), axis=0, return_index=True)[1]
    varied = np.isin(np.arange(len(pictures.number)), first) & (pictures.view == "varied") & (pictures.number % 2 == 0)
    small = (pictures.view == "px32") & np.isin(pictures.kind, ("animals", "places", "wallpapers"))
    rows = (pictures.view == "photo") | (varied & (pictures.label != NOTHING)) | small
    return Evaluation(
        pack(pictures.features[rows]),
        pictures.label[rows],
        pictures.kind[rows],
        pictures.view[rows],
        pictures.fold[rows],
        weights,
        biases,
        np.array([left[name][0] for name in LEFT_OUT]).astype(np.float16),
        np.array([left[name][1] for name in LEFT_OUT]).astype(np.float16),
    )


if __name__ == "__main__":
    main()
