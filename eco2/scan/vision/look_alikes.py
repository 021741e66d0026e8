"""Objects that look like one of the materials and belong to another stream, so that a question names them.

The head was trained on few kinds of things: a beverage carton looks like paper to it, a plank like cardboard. The
labels of the network hint at some of them. Table: `data/vision/look_alikes.csv`.
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from eco2.scan.vision import network

Floats = npt.NDArray[np.float32]

HINTED = 0.2
"""Label mass of the look-alikes of a category from which on it is not answered: one answer in twenty on our photos."""
NOTED = 0.05
"""Label mass from which on a look-alike is named before the usual one; less is noise."""


@dataclass(frozen=True)
class LookAlikes:
    """Items that are taken for a category, the one to name where no label hints at another first."""

    categories: tuple[str, ...]
    item_ids: tuple[str, ...]
    shares: Floats  # (items, labels)
    version: str

    @classmethod
    def load(cls, path: Path) -> Self:
        """ValueError for a share above 1."""
        content = path.read_bytes()
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        pairs = list(dict.fromkeys((row["category"], row["item_id"]) for row in rows))
        shares = np.zeros((len(pairs), network.CLASSES), np.float32)
        for row in rows:
            if row["classes"]:
                first, _, last = row["classes"].partition("-")
                shares[pairs.index((row["category"], row["item_id"])), int(first) : int(last or first) + 1] = row[
                    "share"
                ]
        if shares.max(initial=0) > 1:
            raise ValueError(f"{path}: no share may be above 1")
        version = hashlib.sha256(content).hexdigest()[:8]
        return cls(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs), shares, version)

    def masses(self, labels: Floats) -> Floats:
        """Label mass of each look-alike, from `labels` (…, 1000)."""
        found: Floats = labels @ self.shares.T
        return found

    def hinted(self, category: str, masses: Sequence[float] | Floats) -> bool:
        """True where the labels hint at things that are taken for this category."""
        mass = sum(float(one) for of, one in zip(self.categories, masses, strict=True) if of == category)
        return mass > HINTED

    def ranked(self, category: str, masses: Sequence[float] | Floats) -> list[str]:
        """Items taken for this category, the most hinted at first; without a hint, in the order of the table."""
        own = [
            (float(mass) if mass >= NOTED else 0.0, item)
            for of, item, mass in zip(self.categories, self.item_ids, masses, strict=True)
            if of == category
        ]
        return [item for _, item in sorted(own, key=lambda entry: -entry[0])]
