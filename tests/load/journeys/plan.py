"""Stages of a run in their order, and the lines that each of them measures."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.load.bench import Bench
from tests.load.journeys import lines
from tests.load.journeys.lines import Figure, Line
from tests.load.journeys.perform import perform, together
from tests.load.journeys.seen import SCAN, Model, Seen, Stage
from tests.load.lasting import fill_database, fill_index, whole_pss

FIXED, DRAWN = Model(2, 1.5), Model(3, 2, sigma=0.25)
MOST_FIXED, MOST_SERVED = 500, 1000
"""Users up to which the model's time is fixed; and up to which nobody may be refused."""
USUAL_USERS = (100, 500, 1000, 2000)
THINK, THINK_OF_MANY = 10.0, 20.0
ANSWER_SECONDS = 5.0
REPEATED, REPEATED_USERS = 0.7, 500

RATE = 8.0
"""Scans a second of both crowds whose cost is compared."""
FEW, MANY = 50, 1000
COST_MODEL = Model(0.5, 0.5)
FINISHED = 100_000

SOAK_USERS = 100
SAMPLE_SECONDS = 15.0


@dataclass(frozen=True)
class Asked:
    """Options of a run: seconds of a stage, and of a round of those that compare."""

    users: Sequence[int]
    more: Sequence[str]
    seed: int
    seconds: float
    rounds: int
    round_seconds: float
    soak_minutes: float


@dataclass
class Found:
    """Figures of the lines that were measured, each with the stage that a time is judged by, and the stages to show."""

    figures: list[tuple[Line, Figure, Seen | None]] = field(default_factory=list)
    stages: list[Seen] = field(default_factory=list)
    few: list[Seen] = field(default_factory=list)
    """Rounds of the few users on a stack that holds little, for those who compare with them."""
    memory: list[Mapping[str, float]] = field(default_factory=list)
    """MB by process during the soak."""


Measuring = Callable[[Bench, Asked, Found], Awaitable[None]]


# --- Users ------------------------------------------------------------------------------------------------------------


def users_stage(users: int, seconds: float) -> Stage:
    name = f"{users} users"
    if users <= MOST_FIXED:
        return Stage(name, users, THINK, seconds, FIXED, limit=ANSWER_SECONDS)
    return Stage(name, users, THINK_OF_MANY, seconds, DRAWN)


def users_lines(users: int) -> list[tuple[Line, Callable[[Seen], Figure]]]:
    stage = f"{users} users"
    always = [
        (Line(f"{stage}: accepted jobs lost or failed", stage, "0"), lines.none_harmed),
        (Line(f"{stage}: acts of all kinds that were answered", stage, f"≥ {lines.ANSWERED} %"), lines.answered),
    ]
    overhead = f"{stage}: p95 beyond the model's time"
    if users <= MOST_FIXED:
        name = f"{stage}: p95 submit → done, model {FIXED}"
        limit = Line(name, stage, f"< {ANSWER_SECONDS:g} s")
        return [(limit, lambda seen: lines.answered_in(seen, ANSWER_SECONDS)), *always]
    if users <= MOST_SERVED:
        return [
            (Line(f"{stage}: scans that succeeded, none refused", stage, "100 %"), lines.all_succeeded),
            (Line(overhead, stage, "≤ 0.3 s"), lambda seen: lines.overhead_in(seen, 0.3)),
            *always,
        ]
    return [
        *always,
        (Line(f"{stage}: refusals without Retry-After", stage, "0"), lines.none_rude),
        (Line(overhead, stage, "≤ 2 s"), lambda seen: lines.overhead_in(seen, 2)),
    ]


async def _users(count: int, bench: Bench, asked: Asked, found: Found) -> None:
    stage = users_stage(count, asked.seconds)
    seen = await perform(bench, stage, asked.seed)
    found.stages.append(seen)
    found.figures += [(line, figure(seen), seen) for line, figure in users_lines(count)]


# --- Known photos -----------------------------------------------------------------------------------------------------

HITS = Line("known photos: p95 of scans without the model", "repeated", "≤ 1 s")
HIT_RATE = Line("known photos: scans without the model", "repeated", f"≥ {lines.HIT_RATE} %")


async def repeated(bench: Bench, asked: Asked, found: Found) -> None:
    users = min(REPEATED_USERS, max(asked.users))
    stage = Stage("repeated", users, THINK, asked.seconds, FIXED, REPEATED)
    seen = await perform(bench, stage, asked.seed)
    found.stages.append(seen)
    found.figures += [(HITS, lines.hits_in(seen, 1), seen), (HIT_RATE, lines.hit_rate(seen), None)]


# --- Cost -------------------------------------------------------------------------------------------------------------

FLAT = f"within ± {100 * lines.FLAT:.0f} %"
COST = Line(f"cost of a scan from {FEW} to {MANY} users, {RATE:g} scans/s", "cost", FLAT)
FILLED = Line(f"cost of a scan after {FINISHED:,} finished jobs", "filled", FLAT)


def cost_stage(name: str, users: int, seconds: float) -> Stage:
    """So many users, and as many scans a second as any other number of them."""
    think = users / RATE - COST_MODEL.vision - COST_MODEL.answer
    return Stage(name, users, think, seconds, COST_MODEL, shares={SCAN: 1})


async def cost(bench: Bench, asked: Asked, found: Found) -> None:
    """Rounds in turn, so that a change of the machine's load meets both."""
    many = list[Seen]()
    await perform(bench, cost_stage("warm", FEW, asked.round_seconds / 2), asked.seed)
    for number in range(asked.rounds):
        few_stage = cost_stage(f"{FEW} users at one rate", FEW, asked.round_seconds)
        found.few.append(await perform(bench, few_stage, asked.seed + number))
        many_stage = cost_stage(f"{MANY} users at one rate", MANY, asked.round_seconds)
        many.append(await perform(bench, many_stage, asked.seed + number))
    few = together(found.few)
    found.stages += [few, together(many)]
    found.figures.append((COST, lines.flat(few, together(many)), None))


async def filled(bench: Bench, asked: Asked, found: Found) -> None:
    """The few users again, once the database holds finished jobs and the index photos of theirs."""
    stage = cost_stage(f"{FEW} users at one rate", FEW, asked.round_seconds)
    for number in range(0 if found.few else asked.rounds):
        found.few.append(await perform(bench, stage, asked.seed + number))
    await fill_database(bench.target.environment["ECO2_DATABASE_URL"], FINISHED)
    await fill_index(bench.target.environment["ECO2_REDIS_CACHE_URL"])
    await perform(bench, cost_stage("warm", FEW, asked.round_seconds / 2), asked.seed)
    full = cost_stage(f"{FEW} users among {FINISHED:,} finished jobs", FEW, asked.round_seconds)
    after = [await perform(bench, full, asked.seed + number) for number in range(asked.rounds)]
    found.stages.append(together(after))
    figure = lines.flat(together(found.few), together(after))
    found.figures.append((FILLED, figure, None))


# --- Soak -------------------------------------------------------------------------------------------------------------

SOAK = Line(
    f"soak of {lines.SOAK_MINUTES} minutes: growth of the process that grew most", "soak", f"≤ {lines.GROWTH:g} %"
)
SOAK_HARM = Line("soak: accepted jobs lost or failed", "soak", "0")


async def soak(bench: Bench, asked: Asked, found: Found) -> None:
    """The usual journeys for a long time, and the memory of each process meanwhile."""
    stage = Stage("soak", SOAK_USERS, THINK, asked.soak_minutes * 60, COST_MODEL)
    async with _sampled(bench, found.memory):
        seen = await perform(bench, stage, asked.seed)
    found.stages.append(seen)
    found.figures += [
        (SOAK, lines.growth(found.memory, asked.soak_minutes), None),
        (SOAK_HARM, lines.none_harmed(seen), None),
    ]


@asynccontextmanager
async def _sampled(bench: Bench, samples: list[Mapping[str, float]]) -> AsyncIterator[None]:
    async def watch() -> None:
        start = time.monotonic()
        for number in itertools.count(1):
            samples.append((await asyncio.to_thread(whole_pss, bench))[1])
            await asyncio.sleep(max(0.0, start + number * SAMPLE_SECONDS - time.monotonic()))

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


MORE: dict[str, tuple[Measuring, tuple[Line, ...]]] = {
    "repeated": (repeated, (HITS, HIT_RATE)),
    "cost": (cost, (COST,)),
    "filled": (filled, (FILLED,)),
    "soak": (soak, (SOAK, SOAK_HARM)),
}
"""Stages beside those of the users, in their order: the last two leave the stack other than they found it."""
USUAL_MORE = ("repeated", "cost", "filled")


def every_line(users: Sequence[int]) -> list[Line]:
    """Lines of a run, measured or not: those of the usual numbers of users are never left out."""
    counts = sorted({*USUAL_USERS, *users})
    return [
        *(line for count in counts for line, _ in users_lines(count)),
        *(line for _, measured in MORE.values() for line in measured),
    ]


def stages(asked: Asked) -> list[tuple[str, Measuring]]:
    """Name and work of each stage that was asked for."""

    def of(count: int) -> Measuring:
        return lambda bench, options, found: _users(count, bench, options, found)

    more = [(name, measuring) for name, (measuring, _) in MORE.items() if name in asked.more]
    return [*((f"{count} users", of(count)) for count in sorted(asked.users)), *more]
