"""The embedded vision model: from a photo to an item, or candidates when unsure."""

import threading
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eco2.scan.outputs import Candidate, VisionResult
from eco2.scan.vision import network
from eco2.scan.vision.beliefs import (
    ANSWERED,
    CATEGORIES,
    MATERIALS,
    Beliefs,
    Floats,
    Senses,
    believe,
    by_category,
    placed,
)

NOT_WASTE = 0.6
CANDIDATES = 3
WORTH_ASKING = 0.02  # a candidate below it is noise
WORTH_A_LOOK_ALIKE = 0.3  # of the category: below it, the photo may show anything
AS_LOOK_ALIKE = 0.1
"""Confidence of a look-alike among the candidates: enough to be shown, too little to count as seen."""


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
        """(features and textures, probabilities of the labels) of a photo."""
        features, textures, logits = self._load().run(["features", "textures", "logits"], {"image": _input(square)})
        exponent: Floats = np.exp(logits[0] - logits[0].max())
        return np.concatenate([features[0], textures[0]]), exponent / exponent.sum()


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
        result=_result(senses, beliefs, category, material, name),
    )


def _category(senses: Senses, beliefs: Beliefs) -> tuple[str | None, str | None, float]:
    """(the category when it is sure, the likeliest material in it, the probability of the best category).

    Cardboard and paper are one category: it may be sure where the material is not.
    """
    best, share = _leading(beliefs)
    strange = beliefs.labelled_nothing > senses.head.most_nothing or senses.look_alikes.hinted(best, beliefs.alike)
    if best in ANSWERED and share >= senses.head.sure[best] and not strange:
        of_it = [material for material in MATERIALS if CATEGORIES[material] == best]
        return _finer(senses, beliefs, best), max(of_it, key=lambda material: beliefs.materials[material]), share
    category, labelled = next(iter(by_category(senses, _for_things(senses, beliefs)).items()))
    if _is_thing(senses, beliefs) and labelled >= senses.head.sure_item:
        return category, None, labelled
    return None, None, max(share, labelled)


def _leading(beliefs: Beliefs) -> tuple[str, float]:
    """The likeliest category of the materials, with its probability."""
    grouped: dict[str, float] = dict.fromkeys(CATEGORIES.values(), 0.0)
    for material, share in beliefs.materials.items():
        grouped[CATEGORIES[material]] += share
    return max(grouped.items(), key=lambda entry: entry[1])


def _finer(senses: Senses, beliefs: Beliefs, category: str) -> str:
    """Plastic is two classes of the contract: clear PET bottles apart from the rest, where that is sure."""
    finer, share = next(iter(by_category(senses, beliefs).items()))
    return finer if share >= senses.head.sure[category] else category


def _for_things(senses: Senses, beliefs: Beliefs) -> Beliefs:
    """The beliefs that decide: those of the labels alone where the likeliest item is of none of the materials."""
    return replace(beliefs, items=beliefs.labelled) if _is_thing(senses, beliefs) else beliefs


def _is_thing(senses: Senses, beliefs: Beliefs) -> bool:
    """True when the likeliest item is of none of the materials."""
    return bool(senses.material[int(np.argmax(beliefs.items))] == len(MATERIALS))


def _result(senses: Senses, beliefs: Beliefs, category: str | None, material: str | None, name: str) -> VisionResult:
    """The item is answered when the category is sure, the labels confirm it, and its stream is sure."""
    ranked = np.argsort(-beliefs.items, kind="stable")[:CANDIDATES]
    share = placed(senses, _for_things(senses, beliefs), int(ranked[0]))
    sure = category is not None and share >= _least(senses, beliefs, material)
    waste = beliefs.nothing < NOT_WASTE
    found = [Candidate(senses.item_ids[one], round(float(beliefs.items[one]), 4)) for one in ranked]
    candidates = [one for one in found if one.confidence >= WORTH_ASKING]
    if not sure and waste:
        candidates = _with_look_alike(
            senses, beliefs, candidates, {senses.places[one] for one in ranked[: CANDIDATES - 1]}
        )
    return VisionResult(
        item_id=found[0].item_id if sure else None,
        confidence=round(share if waste else beliefs.nothing, 4),
        candidates=tuple(candidates),
        needs_choice=not sure,
        waste=waste,
        model=name,
        category=category if waste and not sure else None,
    )


def _least(senses: Senses, beliefs: Beliefs, material: str | None) -> float:
    """The least probability of a stream for an answer without a question; over 1 if a question is always needed."""
    if material is None or _is_thing(senses, beliefs):
        return senses.head.sure_item
    category, _ = _leading(beliefs)
    enough = witnessed(senses, beliefs) >= senses.head.witnessed[category]
    return senses.head.sure[category] if enough else 2.0


def witnessed(senses: Senses, beliefs: Beliefs) -> float:
    """Label mass of the items with the likeliest item's stream."""
    return placed(senses, replace(beliefs, items=beliefs.witness), int(np.argmax(beliefs.items)))


def _with_look_alike(
    senses: Senses, beliefs: Beliefs, candidates: list[Candidate], places: Collection[str]
) -> list[Candidate]:
    """Add, in the last place, a look-alike of another stream: a question must not omit it."""
    category, share = _leading(beliefs)
    if share < WORTH_A_LOOK_ALIKE:
        return candidates
    place = dict(zip(senses.look_alikes.item_ids, senses.look_alike_places, strict=True))
    elsewhere = [one for one in senses.look_alikes.ranked(category, beliefs.alike) if place[one] not in places]
    if not elsewhere:
        return candidates
    kept = [one for one in candidates if one.item_id != elsewhere[0]][: CANDIDATES - 1]
    return [*kept, Candidate(elsewhere[0], AS_LOOK_ALIKE)]
