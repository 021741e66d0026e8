"""The embedded vision model: photo in, disposal item out, honest when unsure."""

import csv
import hashlib
import io
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

from eco2.core import photos
from eco2.scan import model
from eco2.scan.seen import Candidate, VisionResult

# Chosen by measurement, see data/vision/README.md. Both exceed one half, so a photo cannot reach both.
CONFIDENT = 0.65
NOT_WASTE = 0.6

CANDIDATES = 3
WORTH_ASKING = 0.02  # a candidate below it is noise

_NO_ITEM = {"-", "?"}  # in the table: no waste at all, or waste that has no item of its own

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LabelTable:
    """What the model's 1000 labels mean: the share of each item among the things that get the label."""

    item_ids: tuple[str, ...]
    shares: Floats  # (items, labels)
    not_waste: Floats  # (labels,)
    version: str

    @classmethod
    def load(cls, path: Path) -> Self:
        content = path.read_bytes()
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        item_ids = tuple(sorted({row["item_id"] for row in rows} - _NO_ITEM))
        shares = {item_id: np.zeros(model.CLASSES, np.float32) for item_id in (*item_ids, *_NO_ITEM)}
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


def check_table(table: LabelTable, item_ids: set[str]) -> list[str]:
    """The item ids of the table that `item_ids` lacks."""
    return sorted(set(table.item_ids) - item_ids)


class EmbeddedVision:
    """Loads the model once; `classify` is synchronous and may be called by several threads at once."""

    def __init__(self, cache_dir: Path, table: LabelTable, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.model_path(cache_dir), options, providers=["CPUExecutionProvider"]
        )
        # A photo of 50 megapixels takes 200 MB to decode, the network 20 MB: threads would multiply that.
        self._one_at_a_time = threading.Lock()
        self._table = table
        self.name = f"{model.NAME}+imagenet-{table.version}"

    def classify(self, data: bytes) -> VisionResult:
        """Raises the errors of `eco2.core.photos.decode`."""
        with self._one_at_a_time:
            probabilities = self._label_probabilities(photos.decode(data, model.SIDE))
        return decide(probabilities, self._table, self.name)

    def _label_probabilities(self, image: Image.Image) -> Floats:
        logits: Floats = self._session.run(["logits"], {"image": _input(image)})[0][0]
        exponent: Floats = np.exp(logits - logits.max())
        probabilities: Floats = exponent / exponent.sum()
        return probabilities


def _input(image: Image.Image) -> Floats:
    """(1, 3, SIDE, SIDE) in the value range of the model, the whole photo squeezed into the square.

    A centre crop as in the training of the model gave fewer and worse confident answers on photos of waste.
    """
    square = image.resize((model.SIDE, model.SIDE), Image.Resampling.BICUBIC)
    pixels = (np.asarray(square, np.float32) - 127) / 128
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def decide(labels: Floats, table: LabelTable, name: str) -> VisionResult:
    """From the probability of each label to an item, or to a question."""
    items = table.shares @ labels
    best = np.argsort(-items, kind="stable")[:CANDIDATES]
    ranked = [Candidate(table.item_ids[n], round(float(items[n]), 4)) for n in best]
    not_waste = round(float(table.not_waste @ labels), 4)
    waste = not_waste < NOT_WASTE
    confident = ranked[0].confidence >= CONFIDENT
    return VisionResult(
        item_id=ranked[0].item_id if confident else None,
        confidence=ranked[0].confidence if waste else not_waste,
        candidates=tuple(one for one in ranked if one.confidence >= WORTH_ASKING),
        needs_choice=not confident,
        waste=waste,
        model=name,
    )
