"""Trains the material head on the output of `tools.vision.features` and writes head, evaluation data and report.

Everything is chosen by five-fold cross-validation over blocks: photos that look alike, and all variations of a photo,
are in one block. The costs that the thresholds weigh: an abstention 1, a wrong answer 5.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eco2 import knowledge
from eco2.scan.vision.beliefs import CATEGORIES, MATERIALS, MIXED, Floats, Senses
from tools.vision.evaluate import (
    FOLDER,
    FOLDS,
    REPORT,
    THINGS,
    Evaluation,
    Ints,
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
PENALTIES = (0.01, 0.03, 0.1)
VARIED_WEIGHT, NOTHING_WEIGHT = 0.25, 0.3
WRONG_COST = 5.0
SURE = np.arange(0.5, 0.96, 0.02)
MOST_NOTHING = (0.25, 0.3, 0.35, 0.4, 0.5)
SURE_ITEM = 0.75
ANSWERED = {"photo": 0.82, "varied": 0.6}
"""Shares of the photos of waste, and of their variations, that have to be answered."""
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
    fold = folds(number[photo], blocks(features[photo], label[photo]))
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


def log_loss(logits: Floats, pictures: Pictures, temperature: float = 1.0) -> float:
    told = softmax(logits / temperature)[np.arange(len(logits)), pictures.label]
    return float(np.average(-np.log(told + 1e-9), weights=pictures.weight))


def cooled(logits: Floats, pictures: Pictures) -> float:
    """The temperature at which the probabilities are honest."""
    choices = np.arange(0.4, 2.01, 0.02)
    return float(min(choices, key=lambda temperature: log_loss(logits, pictures, float(temperature))))


def thresholds(pictures: Pictures, logits: Floats, senses: Senses, temperature: float) -> tuple[float, float]:
    """(`sure`, `most_nothing`) of the least cost that answer little of what is no waste and enough of the rest.

    Where no choice does both, the first counts more: a confident answer to a cat is worse than one question more.
    """
    names = list(dict.fromkeys(CATEGORIES.values()))
    probabilities = softmax(logits / temperature)
    grouped = np.zeros((len(logits), len(names)), np.float32)
    for n, material in enumerate(MATERIALS):
        grouped[:, names.index(CATEGORIES[material])] += probabilities[:, n]
    truth = np.array([*(names.index(CATEGORIES[material]) for material in MATERIALS), -1])[pictures.label]
    best, share = grouped.argmax(1), grouped.max(1)
    strange, waste = pictures.labels @ senses.not_waste, pictures.label != NOTHING
    plain = ~waste & (pictures.view == "photo") & ~np.isin(pictures.kind, THINGS)

    def cost(choice: tuple[float, float]) -> tuple[float, float, float]:
        told = (share >= choice[0]) & (strange <= choice[1]) & (best != names.index(CATEGORIES[MIXED]))
        too_many = max(0.0, float(told[plain].mean()) - NOTHING_ANSWERED)
        missing = (least - float(told[waste & (pictures.view == view)].mean()) for view, least in ANSWERED.items())
        wrong = told & (best != truth)
        price = np.average(WRONG_COST * wrong[waste] + ~told[waste], weights=pictures.weight[waste])
        return too_many, max(0.0, *missing), float(price)

    return min(((float(sure), most) for sure in SURE for most in MOST_NOTHING), key=cost)


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
    temperature = cooled(logits, pictures)
    sure, most_nothing = thresholds(pictures, logits, senses, temperature)
    weights = np.array([layer[0] for layer in layers]).astype(np.float16)
    biases = np.array([layer[1] for layer in layers]).astype(np.float16)
    np.savez_compressed(
        FOLDER / "head.npz",
        weights=weights.astype(np.float32).mean(0).astype(np.float16),
        biases=biases.astype(np.float32).mean(0).astype(np.float16),
        numbers=np.array([temperature, sure, SURE_ITEM, most_nothing], np.float32),
    )
    kept(pictures, weights, biases).save()
    chosen = {"penalty": penalty, "temperature": temperature, "sure": sure, "most_nothing": most_nothing}
    found = report(Evaluation.load(), Senses.load(FOLDER, base))
    losses_told = {str(one): round(loss, 4) for one, loss in losses.items()}
    told = {"chosen": chosen, "log_loss": losses_told, "groups": found}
    REPORT.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n")
    print(chosen, losses_told)
    print(table(found))


def kept(pictures: Pictures, weights: Halves, biases: Halves) -> Evaluation:
    """What is committed: each photo as it is, one variation of each, and small pictures of animals and places."""
    first = np.unique(np.stack([pictures.number, pictures.view == "varied"], 1), axis=0, return_index=True)[1]
    varied = np.isin(np.arange(len(pictures.number)), first) & (pictures.view == "varied")
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
    )


if __name__ == "__main__":
    main()
