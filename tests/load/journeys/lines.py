"""Pass lines of `make load`, and the judgement of each: kept, missed, or not measured, with the reason."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.load.bench import ELSEWHERE
from tests.load.client import percentile
from tests.load.journeys.perform import cost
from tests.load.journeys.seen import SCAN, Act, Seen
from tests.load.machine import STRANGERS

State = Literal["kept", "missed", "not measured"]
LEAST = 10
"""Scans below which a percentile says nothing. Of fewer than 20 the p95 is the longest."""
ANSWERED = 99
"""Percent of the acts, the target of docs/objectives.md for requests."""
FULL = 0.95
"""Share of the machine's cores that leaves nothing to anybody."""
STANDINS = 0.15
"""Share of the cores of a full machine that driver and emulators may take before it is they who are in the way."""
DRIVER_CORES = 0.9
"""Of the one core that the driver has: beyond it users are late."""
LATE_SECONDS = 1.0
"""p95 of the driver's lag past which fewer acts were made than the stage says."""
SLOW = 2.0
"""Times that this machine may be slower than the one on which the lines were drawn."""
FLAT = 0.15
HIT_RATE = 95
GROWTH = 5.0
SOAK_MINUTES = 60


@dataclass(frozen=True)
class Figure:
    """`kept`: the line is kept by what was seen. `seconds`: the line's own limit where it is a time, which a busy
    machine spoils. `why_not`: there is no figure, or none that means anything."""

    value: float
    unit: str
    kept: bool
    seconds: float | None = None
    note: str = ""
    why_not: str = ""


@dataclass(frozen=True)
class Line:
    """`stage` is the one in which it is measured."""

    name: str
    stage: str
    limit: str


@dataclass(frozen=True)
class Verdict:
    name: str
    stage: str
    limit: str
    state: State
    value: str
    why: str = ""
    asked: bool = True
    """False: its stage was not asked for, so that nothing is wrong with its absence."""


def not_measured(line: Line, why: str, *, asked: bool = True, value: str = "–") -> Verdict:
    return Verdict(line.name, line.stage, line.limit, "not measured", value, why, asked)


def judged(line: Line, figure: Figure, seen: Seen | None = None, slowness: float = 1.0) -> Verdict:
    """A disturbed machine only ever makes a time longer: a line that was kept is kept, and one that was missed is
    missed by the platform only if nothing else was in the way. `seen`: the stage of a time."""
    value = (
        f"{figure.value:,.3g} {figure.unit}"
        if math.isfinite(figure.value)
        else "–"
        if math.isnan(figure.value)
        else "never"
    )
    if figure.why_not:
        return not_measured(line, figure.why_not, value=value)
    if figure.seconds is not None and seen is not None:
        if (late := lateness(seen)) > LATE_SECONDS:
            return not_measured(line, f"the driver was {late:.1f} s late, so fewer acts were made", value=value)
        if not figure.kept and (why := disturbed(seen, figure.seconds, slowness)):
            return not_measured(line, why, value=value)
    if figure.kept:
        return Verdict(line.name, line.stage, line.limit, "kept", value, figure.note)
    return Verdict(line.name, line.stage, line.limit, "missed", value, figure.note)


def lateness(seen: Seen) -> float:
    """p95 of the seconds by which the driver's own loop was late."""
    return percentile(seen.lags, 95) if seen.lags else 0.0


def disturbed(seen: Seen, limit: float, slowness: float = 1.0) -> str:
    """Reason other than the platform for which a time can be too long; empty: there is none."""
    usage = seen.usage
    late = lateness(seen)
    driver = usage.driver / usage.wall
    standins = driver + sum(usage.by_process.get(name, 0.0) for name in ELSEWHERE) / usage.wall
    busy = usage.machine / usage.wall / seen.cores
    if slowness > SLOW:
        return f"this machine is {slowness:.1f} times slower than the one on which the lines were drawn"
    if usage.strangers > STRANGERS:
        return f"{usage.strangers:.1f} cores were used by something else"
    if driver > DRIVER_CORES:
        return f"the driver was overloaded: it took {driver:.2f} of its one core"
    if late > limit / 10:
        return f"the driver was overloaded: its own loop was {1000 * late:.0f} ms late (p95)"
    if busy > FULL and standins > STANDINS * seen.cores:
        return f"the machine was full, {standins:.2f} of {seen.cores} cores by driver and emulators"
    return ""


# --- Figures of one stage ---------------------------------------------------------------------------------------------


def _p95(values: Sequence[float], limit: float, *, note: str = "") -> Figure:
    if len(values) < LEAST:
        why = f"{len(values)} scans are too few to tell"
        return Figure(math.nan if not values else percentile(values, 95), "s", False, limit, why_not=why)
    value = percentile(values, 95)
    return Figure(value, "s", value <= limit, limit, note)


def taken(acts: Sequence[Act]) -> list[float]:
    """Seconds of each; one that came to no end takes for ever."""
    return [math.inf if act.seconds is None else act.seconds for act in acts]


def answered_in(seen: Seen, limit: float) -> Figure:
    return _p95(taken(seen.of(SCAN)), limit, note=f"{len(seen.of(SCAN))} scans")


def overhead(seen: Seen) -> list[float]:
    """Of each accepted scan, seconds beyond those that the model itself took for it."""
    scans = [act for act in seen.of(SCAN) if act.job is not None]
    return [
        seconds - seen.model_seconds.get(act.job or "", 0.0) for act, seconds in zip(scans, taken(scans), strict=True)
    ]


def overhead_in(seen: Seen, limit: float) -> Figure:
    return _p95(overhead(seen), limit, note="beyond the model's own time for the same scan")


def harmed(seen: Seen) -> dict[str, str]:
    """Accepted job → the way in which it was lost or failed."""
    found = {}
    for act in seen.jobs:
        status = seen.statuses.get(act.job or "")
        if status is None:
            found[act.job or ""] = "lost: it is not in the database"
        elif status != "completed":
            found[act.job or ""] = f"it is {status}"
        elif act.seconds is None:
            found[act.job or ""] = f"its user got {act.fault}"
    return found


def none_harmed(seen: Seen) -> Figure:
    found = harmed(seen)
    note = f"of {len(seen.jobs)} accepted" + (f"; the first: {next(iter(found.values()))}" if found else "")
    return Figure(len(found), "jobs", not found, note=note, why_not="" if seen.jobs else "no job was accepted")


def all_succeeded(seen: Seen) -> Figure:
    """Refusals count: at this load nobody is to be sent away."""
    scans = seen.of(SCAN)
    good = [act for act in scans if act.seconds is not None and not act.refusals]
    share = 100 * len(good) / max(1, len(scans))
    bad = next((act.fault or f"refused {act.refusals} times" for act in scans if act not in good), "")
    note = f"of {len(scans)} scans" + (f"; the first: {bad}" if bad else "")
    return Figure(share, "%", len(good) == len(scans), note=note, why_not="" if scans else "nobody scanned")


def answered(seen: Seen) -> Figure:
    """Acts of all kinds; who was told to wait, and did, was answered."""
    bad = [act for act in seen.acts if act.seconds is None]
    share = 100 * (1 - len(bad) / max(1, len(seen.acts)))
    note = f"of {len(seen.acts)} acts" + (f"; the first: {bad[0].fault}" if bad else "")
    return Figure(share, "%", share >= ANSWERED, note=note, why_not="" if seen.acts else "nobody did anything")


def none_rude(seen: Seen) -> Figure:
    rude, refused = sum(act.rude for act in seen.acts), sum(act.refusals for act in seen.acts)
    return Figure(rude, "refusals", not rude, note=f"of {refused} refusals")


def hits(seen: Seen) -> list[Act]:
    """Scans of known photos for which the model was not asked."""
    scans = [act for act in seen.of(SCAN) if act.popular and act.job and act.seconds is not None]
    return [act for act in scans if act.job not in seen.model_seconds]


def hits_in(seen: Seen, limit: float) -> Figure:
    return _p95(taken(hits(seen)), limit, note=f"{len(hits(seen))} hits")


def hit_rate(seen: Seen) -> Figure:
    """Of the scans of known photos; a failed one is none."""
    known = [act for act in seen.of(SCAN) if act.popular]
    if len(known) < LEAST:
        return Figure(math.nan, "%", False, why_not=f"{len(known)} scans of known photos are too few to tell")
    rate = 100 * len(hits(seen)) / len(known)
    whole = 100 * len(hits(seen)) / len(seen.of(SCAN))
    return Figure(rate, "%", rate >= HIT_RATE, note=f"of {len(known)} known photos; {whole:.0f} % of all scans")


# --- Figures of two stages, or of many samples ------------------------------------------------------------------------


def flat(one: Seen, other: Seen) -> Figure:
    """Cost of a scan in `other`, of that in `one`. What else uses the machine makes both dearer, not alike."""
    before, after = cost(one), cost(other)
    if min(len(one.of(SCAN)), len(other.of(SCAN))) < LEAST:
        return Figure(math.nan, "times", False, why_not="too few scans to tell")
    note = f"{before:.2f} → {after:.2f} ms of CPU"
    strangers = max(one.usage.strangers, other.usage.strangers)
    why = f"{strangers:.1f} cores were used by something else" if strangers > STRANGERS else ""
    ratio = after / before if before else math.nan
    return Figure(ratio, "times", abs(ratio - 1) <= FLAT, note=note, why_not=why)


def growth(samples: Sequence[Mapping[str, float]], minutes: float) -> Figure:
    """Process that grew most: its memory over the last sixth of the soak, of that over the second sixth. In the first
    one caches and pools become what they are."""
    sixth = len(samples) // 6
    if not sixth:
        return Figure(math.nan, "%", False, why_not=f"{len(samples)} samples are too few to tell")
    early, late = samples[sixth : 2 * sixth], samples[-sixth:]
    grown = {name: 100 * (_mean(late, name) / _mean(early, name) - 1) for name in late[-1] if _mean(early, name) > 0}
    name = max(grown, key=lambda key: grown[key])
    note = ", ".join(f"{key} {value:+.1f} %" for key, value in sorted(grown.items(), key=lambda row: -row[1])[:3])
    why = f"{minutes:.0f} minutes are too short to tell; {SOAK_MINUTES} are" if minutes < SOAK_MINUTES else ""
    return Figure(grown[name], f"% ({name})", grown[name] <= GROWTH, note=note, why_not=why)


def _mean(samples: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(sample.get(name, 0.0) for sample in samples) / len(samples)
