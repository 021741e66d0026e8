"""Parts that the scenarios share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eco2.local.emulators import kma as kma_emulator
from eco2.local.emulators import llm as llm_emulator
from eco2.local.emulators import news as news_emulator
from eco2.local.emulators import oauth as oauth_emulator
from tests.load.client import Client, Outcome, failures
from tests.load.machine import PATH, STRANGERS, Usage
from tests.load.photos import TINY, photo
from tests.load.report import Measure
from tests.load.target import Photo, Target

USERS = 500
ELSEWHERE = (kma_emulator.NAME, llm_emulator.NAME, news_emulator.NAME, oauth_emulator.NAME)
"""Processes that stand for what is not on this machine; they count for nothing."""


@dataclass
class Bench:
    target: Target
    client: Client
    quick: bool
    keep: bool = False
    """Leave what took long to fill a database with, and take what an earlier run left."""
    scanned: int = field(default=0)
    """Jobs that this stack has done so far."""

    def sized(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    async def photos(self, count: int, size: tuple[int, int] = TINY) -> list[Photo]:
        """New photos of many users, uploaded, each with words of its own: neither stage finds anything remembered."""
        seeds = (next(self.target.seeds) for _ in range(count))
        return await self.target.upload(((photo(seed, size), words(seed)) for seed in seeds), self.target.users(USERS))

    async def llm_seconds(self, vision: float, answer: float, sigma: float = 0) -> float:
        """Set what the emulated LLM takes; the time that it adds to a job, log-normal around it with a `sigma`. The
        count of its calls starts anew."""
        url = self.target.emulator_url
        if url is None:
            return 0.0
        control = {"vision": {"median": vision, "sigma": sigma}, "answer": {"median": answer, "sigma": sigma}}
        async with self.client.session.post(f"{url}/_control", json=control) as response:
            response.raise_for_status()
        async with self.client.session.delete(f"{url}/_calls") as response:
            response.raise_for_status()
        return vision + answer

    async def llm_calls(self) -> int:
        """Since `llm_seconds`."""
        url = self.target.emulator_url
        if url is None:
            return 0
        async with self.client.session.get(f"{url}/_calls") as response:
            return int((await response.json())["total"])

    async def scan_all(self, photos: Sequence[Photo], at_once: int) -> list[Outcome]:
        """RuntimeError when one fails: what failed cost nothing, a figure with it would be a lie."""
        outcomes = await self.client.scan_all(photos, at_once)
        self.scanned += len(outcomes)
        if not all(one.ok for one in outcomes):
            raise RuntimeError(f"scans failed: {failures(outcomes)}")
        return outcomes


def words(seed: int) -> str:
    return f"이건 어떻게 버려요? ({seed})"


def breakdown(usage: Usage, jobs: int) -> dict[str, float]:
    """CPU ms per job by process, those that are not counted included."""
    rows = sorted(usage.by_process.items(), key=lambda row: -row[1])
    return {name if name in PATH else f"({name})": round(1000 * seconds / jobs, 2) for name, seconds in rows}


def cpu_measure(name: str, value: float, details: Mapping[str, Any]) -> Measure:
    """The measure; without its value where something else used the machine, which is then said."""
    strangers = details["strangers_cores"]
    if strangers <= STRANGERS:
        return Measure(name, value, details)
    why = f"not measured: {strangers} cores were used by others; {value:.3g} with them"
    return Measure(name, None, {**details, "skipped": why})


def load_of_driver(usage: Usage, jobs: int) -> dict[str, Any]:
    return {
        "driver_ms_per_job": round(1000 * usage.driver / jobs, 2),
        "strangers_cores": round(usage.strangers, 2),
    }
