"""Scenarios of memory and of the embedded model."""

import time
from collections.abc import Collection
from pathlib import Path
from statistics import median

from eco2 import knowledge
from eco2.photos import reading
from eco2.scan.vision import network
from eco2.scan.vision.beliefs import Senses
from eco2.scan.vision.embedded import EmbeddedVision
from tests.load.bench import ELSEWHERE, Bench
from tests.load.machine import nurseries, own_pss, pss
from tests.load.pipeline import AT_ONCE
from tests.load.report import Measure

JOBS = 1000


async def memory_pss(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """Every process of the stack, object store and edge included, once it has done a thousand jobs.

    The emulated LLM and the emulated providers of sign-ins stand for what is elsewhere, and do not count.
    """
    await bench.llm_seconds(0, 0)
    if bench.scanned < JOBS:
        await bench.scan_all(await bench.photos(JOBS - bench.scanned), AT_ONCE)
    total, used = stack_pss(bench)
    return [Measure("memory_pss", total, {"jobs": bench.scanned, "mb_by_process": used})]


def stack_pss(bench: Bench) -> tuple[float, dict[str, float]]:
    """MB of the stack, and by process, the largest first."""
    used = {name: pss(pid) / 1e6 for name, pid in bench.target.pids().items() if name not in ELSEWHERE}
    used["nursery"] = sum(map(own_pss, nurseries(bench.target.pids()))) / 1e6
    rows = sorted(used.items(), key=lambda row: -row[1])
    return sum(used.values()), {name: round(size, 1) for name, size in rows}


def _square(photo: bytes) -> bytes:
    return reading.square(reading.decode(photo, network.SIDE), network.SIDE)


async def vision_photo(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """In this process, on one thread: the demo photo, from its bytes to the decision."""
    data = knowledge.default_directory()
    image = (data / "demo" / "coffee.jpg").read_bytes()
    senses = Senses.load(data / "vision", knowledge.load(data))
    vision = EmbeddedVision(Path(bench.target.environment["ECO2_MODEL_DIR"]), senses, threads=1)
    vision.classify(_square(image))
    costs, photos = [], 40
    for _ in range(3):
        before = time.process_time()
        for _ in range(photos):
            vision.classify(_square(image))
        costs.append(1000 * (time.process_time() - before) / photos)
    details = {"photo": "data/demo/coffee.jpg, 600×400", "photos_per_round": photos}
    return [Measure("vision_photo", median(costs), {**details, "rounds": [round(cost, 2) for cost in costs]})]
