"""Beliefs about a photo from its features: a material, an item, no waste at all, or nothing for sure.

Two sources are fused. A head that was trained on photos of waste tells six materials, and that it is none of them. The
1000 labels of ImageNet tell objects; a table by hand says which items get a label, a second one which of them are of
which material. Files and figures: `data/vision/README.md`.
"""

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from eco2.knowledge import Knowledge
from eco2.scan.vision import network
from eco2.scan.vision.look_alikes import LookAlikes

MATERIALS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
CATEGORIES = dict(zip(MATERIALS, ("종이", "유리병", "금속류", "종이", "플라스틱류", "일반쓰레기"), strict=True))
"""Material → the middle class of the contract that stands for it where the item is not sure."""
ANSWERED = ("종이", "유리병", "금속류", "플라스틱류")
"""Categories of materials that are answered; each has thresholds of its own."""
MIXED = "trash"
"""Not one stream in Korea (film, foam, or the bag): asked about, never answered as such."""

_NO_ITEM = {"-", "?"}  # in the table: no waste at all, or waste that has no item of its own
_TYPICAL = 0.15
"""Weight of a material's typical items against the labels of the photo."""
INPUTS = network.FEATURES + network.TEXTURES + len(MATERIALS) + 2
"""Features, textures, and the labels' evidence for each material, for other objects and for no waste."""
_FLOOR = 1e-4  # label mass below it says nothing

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LabelTable:
    """Meaning of the model's 1000 labels: the share of each item among the things that get the label."""

    item_ids: tuple[str, ...]
    shares: Floats  # (items, labels)
    not_waste: Floats  # (labels,)
    version: str

    @classmethod
    def load(cls, path: Path) -> Self:
        content = path.read_bytes()
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        item_ids = tuple(sorted({row["item_id"] for row in rows} - _NO_ITEM))
        shares = {item_id: np.zeros(network.CLASSES, np.float32) for item_id in (*item_ids, *_NO_ITEM)}
        for row in rows:
            shares[row["item_id"]][_labels(row["classes"])] += float(row["share"])
        total = np.sum(list(shares.values()), axis=0)
        if not ((total > 0) & (total < 1.001)).all():
            raise ValueError(f"{path}: each label needs shares that add up to at most 1")
        return cls(
            item_ids,
            np.stack([shares[item_id] for item_id in item_ids]),
            shares["-"],
            hashlib.sha256(content).hexdigest()[:8],
        )


def _labels(classes: str) -> slice:
    first, _, last = classes.partition("-")
    return slice(int(first), int(last or first) + 1)


@dataclass(frozen=True)
class Head:
    """A linear layer over features, textures and label masses; its probabilities are calibrated by `temperature`.

    `sure` has the least probability at which each category of ANSWERED is told. The head has seen few kinds of things
    and may be sure of others: the item is told without a question where the labels give `witnessed` at least to things
    that go the same way. `sure_item` is the least probability of anything else; where the labels give more than
    `most_nothing` to no waste, no material is answered, however sure the head is.
    """

    weights: Floats  # (inputs, materials and one for none of them)
    biases: Floats
    temperature: float
    sure: Mapping[str, float]
    witnessed: Mapping[str, float]
    sure_item: float
    most_nothing: float
    version: str

    @classmethod
    def load(cls, path: Path) -> Self:
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            weights, biases = kept["weights"].astype(np.float32), kept["biases"].astype(np.float32)
            shape = (INPUTS, len(MATERIALS) + 1)
            if weights.shape != shape or biases.shape != shape[1:]:
                raise ValueError(f"{path}: a head of shape {weights.shape} is none of this model")
            temperature, sure_item, most_nothing = (float(value) for value in kept["numbers"])
            sure, witnessed = (
                dict(zip(ANSWERED, map(float, kept[name]), strict=True)) for name in ("sure", "witnessed")
            )
        version = hashlib.sha256(content).hexdigest()[:8]
        return cls(weights, biases, temperature, sure, witnessed, sure_item, most_nothing, version)

    def probabilities(self, inputs: Floats) -> Floats:
        logits = (inputs @ self.weights + self.biases) / self.temperature
        exponent = np.exp(logits - logits.max(-1, keepdims=True))
        probabilities: Floats = exponent / exponent.sum(-1, keepdims=True)
        return probabilities


@dataclass(frozen=True)
class Senses:
    """Everything that the decision needs besides the network's output. Items are in the order of `item_ids`."""

    item_ids: tuple[str, ...]
    shares: Floats  # (items, labels)
    not_waste: Floats  # (labels,)
    material: npt.NDArray[np.int64]  # of each item; len(MATERIALS) for none of them
    typical: Floats  # of each item: its share of its material where nothing else is known
    places: tuple[str, ...]  # stream of each item
    categories: tuple[str, ...]  # the middle class of each item
    look_alikes: LookAlikes
    look_alike_places: tuple[str, ...]
    head: Head
    version: str

    @classmethod
    def load(cls, folder: Path, knowledge: Knowledge) -> Self:
        """From `data/vision`. ValueError for an item that the taxonomy lacks, or shares that do not add up."""
        return cls.of(folder, knowledge, Head.load(folder / "head.npz"))

    @classmethod
    def of(cls, folder: Path, knowledge: Knowledge, head: Head) -> Self:
        table, materials = LabelTable.load(folder / "imagenet_items.csv"), _materials(folder / "materials.csv")
        ids = tuple(dict.fromkeys([*table.item_ids, *materials]))
        alike = LookAlikes.load(folder / "look_alikes.csv")
        if unknown := sorted({*ids, *alike.item_ids} - set(knowledge.items)):
            raise ValueError(f"the tables in {folder} name unknown items: {', '.join(unknown)}")
        none = np.zeros((len(ids) - len(table.item_ids), network.CLASSES), np.float32)
        places = tuple(knowledge.item(one).stream for one in ids)
        versions = f"{table.version}{alike.version}{head.version}{materials}{places}"
        digest = hashlib.sha256(versions.encode()).hexdigest()[:8]
        return cls(
            ids,
            np.vstack([table.shares, none]),
            table.not_waste,
            np.array([MATERIALS.index(materials[one][0]) if one in materials else len(MATERIALS) for one in ids]),
            np.array([materials[one][1] if one in materials else 0 for one in ids], np.float32),
            places,
            tuple(knowledge.item(one).classification.middle_category for one in ids),
            alike,
            tuple(knowledge.item(one).stream for one in alike.item_ids),
            head,
            digest,
        )

    def masses(self, labels: Floats) -> tuple[Floats, Floats, Floats]:
        """Of `labels` (…, 1000): (that of each item, of each material and of other things (…, 7), of no waste (…,))."""
        items = labels @ self.shares.T
        of_group = np.eye(len(MATERIALS) + 1)[self.material].astype(np.float32)
        groups: Floats = np.matmul(items, of_group, dtype=np.float32)
        return items, groups, labels @ self.not_waste

    def inputs(self, features: Floats, labels: Floats) -> Floats:
        """Input of the head: features with textures, and how much the labels speak for each material and the rest."""
        _, groups, nothing = self.masses(labels)
        told = np.concatenate([groups, nothing[..., None]], -1)
        return np.concatenate([features, np.log(told + _FLOOR)], -1, dtype=np.float32)


def _materials(path: Path) -> dict[str, tuple[str, float]]:
    """Item id → (material, share of it)."""
    with path.open(encoding="utf-8") as file:
        rows = {row["item_id"]: (row["material"], float(row["share"])) for row in csv.DictReader(file)}
    if strange := {name for name, _ in rows.values()} - set(MATERIALS):
        raise ValueError(f"{path}: no such material: {', '.join(sorted(strange))}")
    for material in MATERIALS:
        if abs(sum(share for name, share in rows.values() if name == material) - 1) > 1e-6:
            raise ValueError(f"{path}: the shares of {material} must add up to 1")
    return rows


@dataclass(frozen=True)
class Beliefs:
    """Probabilities of one photo, calibrated: those of items and nothing add up to 1 with what no item stands for."""

    items: Floats
    materials: Mapping[str, float]
    nothing: float
    labelled_nothing: float
    """Share that the labels alone give to no waste."""
    labelled: Floats
    """Share that the labels alone give to each item of no material: the head has seen too few such things to be
    asked."""
    witness: Floats
    """Label mass of each item."""
    alike: Floats
    """Label mass of each look-alike."""


def believe(senses: Senses, features: Floats, labels: Floats) -> Beliefs:
    """The head shares probability out to the materials, the labels share it on to items."""
    head = senses.head.probabilities(senses.inputs(features, labels))
    masses, groups, nothing = senses.masses(labels)
    other = len(MATERIALS)
    of_item = np.where(senses.material == other, 0, _TYPICAL * senses.typical)
    rest = max(1e-6, 1 - float(groups[:other].sum()))  # things, no waste, and labels that say nothing
    total = np.append(groups[:other] + _TYPICAL, rest)
    items = head[senses.material] * (masses + of_item) / total[senses.material]
    return Beliefs(
        items.astype(np.float32),
        {material: float(head[n]) for n, material in enumerate(MATERIALS)},
        float(head[other] * nothing / rest),
        float(nothing),
        np.where(senses.material == other, masses, 0).astype(np.float32),
        masses,
        senses.look_alikes.masses(labels),
    )


def placed(senses: Senses, beliefs: Beliefs, item: int) -> float:
    """The probability of this item's stream: which of two kinds of can it is changes nothing."""
    where = senses.places[item]
    return float(
        sum(share for place, share in zip(senses.places, beliefs.items.tolist(), strict=True) if place == where)
    )


def by_category(senses: Senses, beliefs: Beliefs) -> Mapping[str, float]:
    """Middle class → probability, best first."""
    found: dict[str, float] = {}
    for category, share in zip(senses.categories, beliefs.items.tolist(), strict=True):
        found[category] = found.get(category, 0.0) + share
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))
