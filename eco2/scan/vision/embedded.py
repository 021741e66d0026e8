"""The embedded vision model: photo in, disposal item out, honest when unsure."""

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eco2.scan.vision import network
from eco2.scan.vision.beliefs import (
    CATEGORIES,
    MATERIALS,
    MIXED,
    Beliefs,
    Floats,
    Senses,
    believe,
    by_category,
    placed,
)
from eco2.scan.vision.result import Candidate, VisionResult

NOT_WASTE = 0.6
CANDIDATES = 3
WORTH_ASKING = 0.02  # a candidate below it is noise


@dataclass(frozen=True)
class Decision:
    """Content of a photo. `category` is a middle class of the contract, None when `abstained`.

    A material may be sure where the item is not: then `category` is told, and `result` still asks for the item.
    """

    category: str | None
    material: str | None
    confidence: float
    candidates: tuple[tuple[str, float], ...]
    """The likeliest categories, three at most."""
    result: VisionResult

    @property
    def abstained(self) -> bool:
        return self.category is None


class EmbeddedVision:
    """`classify` and `tell` are synchronous and may be called by several threads at once.

    The network is loaded with the first photo, or by `warm`: 60 MB that a worker whose paid model never fails does
    without. That its file can be had is seen at once.
    """

    def __init__(self, cache_dir: Path, senses: Senses, threads: int = 1) -> None:
        self._path = network.model_path(cache_dir)
        self._threads = threads
        self._session: Any = None
        # An inference takes 20 MB: threads would multiply that.
        self._one_at_a_time = threading.Lock()
        self._senses = senses
        self.name = f"{network.NAME}+{senses.version}"

    def warm(self) -> None:
        """Load the network, so that the first photo need not wait for it."""
        with self._one_at_a_time:
            self._load()

    def _load(self) -> Any:
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self._threads
            options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(self._path, options, providers=["CPUExecutionProvider"])
        return self._session

    def classify(self, square: bytes) -> VisionResult:
        """`square`: a photo as `eco2.photos.reading.square` gives it, of network.SIDE pixels."""
        return self.tell(square).result

    def tell(self, square: bytes) -> Decision:
        with self._one_at_a_time:
            features, labels = self.features(square)
        return decide(self._senses, features, labels, self.name)

    def features(self, square: bytes) -> tuple[Floats, Floats]:
        """(features, probabilities of the labels) of a photo."""
        features, logits = self._load().run(["features", "logits"], {"image": _input(square)})
        exponent: Floats = np.exp(logits[0] - logits[0].max())
        return features[0], exponent / exponent.sum()


def _input(square: bytes) -> Floats:
    """(1, 3, SIDE, SIDE) in the value range of the model, the whole photo squeezed into the square.

    A centre crop as in the training of the model gave fewer and worse confident answers on photos of waste.
    """
    rgb = np.frombuffer(square, np.uint8).reshape(network.SIDE, network.SIDE, 3)
    pixels = (rgb.astype(np.float32) - 127) / 128
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def decide(senses: Senses, features: Floats, labels: Floats, name: str) -> Decision:
    """From the network's output to a category and an item, or to a question."""
    beliefs = believe(senses, features, labels)
    category, material, confidence = _category(senses, beliefs)
    likely = list(by_category(senses, beliefs).items())[:CANDIDATES]
    return Decision(
        category=category,
        material=material,
        confidence=round(confidence, 4),
        candidates=tuple((one, round(share, 4)) for one, share in likely if share >= WORTH_ASKING),
        result=_result(senses, beliefs, category, name),
    )


def _category(senses: Senses, beliefs: Beliefs) -> tuple[str | None, str | None, float]:
    """(the category when it is sure, the likeliest material in it, the probability of the best category).

    Cardboard and paper are one category: it may be sure where the material is not.
    """
    grouped: dict[str, float] = dict.fromkeys(CATEGORIES.values(), 0.0)
    for material, share in beliefs.materials.items():
        grouped[CATEGORIES[material]] += share
    best, sure = max(grouped.items(), key=lambda entry: entry[1])
    strange = beliefs.labelled_nothing > senses.head.most_nothing
    if sure >= senses.head.sure and best != CATEGORIES[MIXED] and not strange:
        of_it = [material for material in MATERIALS if CATEGORIES[material] == best]
        return _finer(senses, beliefs, best), max(of_it, key=lambda material: beliefs.materials[material]), sure
    category, share = next(iter(by_category(senses, _for_things(senses, beliefs)).items()))
    if _is_thing(senses, beliefs) and share >= senses.head.sure_item:
        return category, None, share
    return None, None, max(share, sure)


def _finer(senses: Senses, beliefs: Beliefs, category: str) -> str:
    """Plastic is two classes of the contract: clear PET bottles apart from the rest, where that is sure."""
    finer, share = next(iter(by_category(senses, beliefs).items()))
    return finer if share >= senses.head.sure else category


def _for_things(senses: Senses, beliefs: Beliefs) -> Beliefs:
    """The beliefs that decide: those of the labels alone where the likeliest item is of none of the materials."""
    return replace(beliefs, items=beliefs.labelled) if _is_thing(senses, beliefs) else beliefs


def _is_thing(senses: Senses, beliefs: Beliefs) -> bool:
    """True when the likeliest item is of none of the materials."""
    return bool(senses.material[int(np.argmax(beliefs.items))] == len(MATERIALS))


def _result(senses: Senses, beliefs: Beliefs, category: str | None, name: str) -> VisionResult:
    """The item is told when the category is sure, and so is where the item goes."""
    ranked = np.argsort(-beliefs.items, kind="stable")[:CANDIDATES]
    share = placed(senses, _for_things(senses, beliefs), int(ranked[0]))
    least = senses.head.sure_item if _is_thing(senses, beliefs) else senses.head.sure
    sure = category is not None and share >= least
    waste = beliefs.nothing < NOT_WASTE
    found = [Candidate(senses.item_ids[one], round(float(beliefs.items[one]), 4)) for one in ranked]
    return VisionResult(
        item_id=found[0].item_id if sure else None,
        confidence=round(share if waste else beliefs.nothing, 4),
        candidates=tuple(one for one in found if one.confidence >= WORTH_ASKING),
        needs_choice=not sure,
        waste=waste,
        model=name,
    )
