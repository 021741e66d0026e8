"""The audit of a chaos run finds each kind of harm, and none where there is none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.audit import audit, availability
from tests.chaos.evidence import Act, Disturbance, Evidence, JobRow, Request, RevokedUse, ScanSeen, TurnSeen

RESULT = {"outcome": "answered", "item": "can", "image_url": "https://cdn/1"}
FRAMES = [{"stage": "queued", "seq": 1}, {"stage": "vision", "seq": 2}, {"stage": "done", "seq": 3, "result": RESULT}]


def harmless() -> Evidence:
    """One scan with a reward and one message of a chat, disturbed once between them."""
    scan = ScanSeen("u", 1.0, "job", 9.0, list(FRAMES), [RESULT, {**RESULT, "image_url": "https://cdn/2"}])
    told = [{"stage": "queued", "seq": 1}, {"stage": "token", "seq": 1001}, {"stage": "done", "seq": 2}]
    return Evidence(
        scans=[scan],
        turns=[TurnSeen("u", "chat", 20.0, "turn", 22.0, told, ["an answer"])],
        requests=[Request(1.0, 200)] * 100,
        revoked=[RevokedUse(5.0, 6.0, 200), RevokedUse(5.0, 11.0, 401), RevokedUse(5.0, 12.0, 0)],
        acts=[Act(1.0, 0.5)],
        disturbances=[Disturbance("kill scan-worker", 3.0, 4.0, 1.0)],
        jobs={"job": JobRow("job", "u", "completed", True, "can")},
        turn_states={"turn": "completed"},
        calls={"job": {"vision": {"calls": 3, "answers": 2}}, "turn": {"answer": {"calls": 1, "answers": 1}}},
        owned={("u", "can")},
        points=["job"],
        unsent={"outbox": 0},
        waiting={"eco2 scan.vision": 0},
        dead={"eco2 dlq.scan.vision": ["poison-1"]},
        poison={"poison-1"},
    )


def changed_job(**changes: Any) -> Callable[[Evidence], None]:
    def change(evidence: Evidence) -> None:
        evidence.jobs["job"] = replace(evidence.jobs["job"], **changes)

    return change


def changed(part: str, name: str, value: object) -> Callable[[Evidence], None]:
    return lambda evidence: setattr(getattr(evidence, part)[0], name, value)


HARM: dict[str, list[Callable[[Evidence], object]]] = {
    "lost": [lambda evidence: evidence.jobs.clear()],
    "hung": [changed_job(status="processing"), changed("scans", "ended", None)],
    "unannounced": [changed_job(announced=False)],
    "lost turn": [lambda evidence: evidence.turn_states.clear()],
    "hung turn": [lambda evidence: evidence.turn_states.update(turn="queued"), changed("turns", "ended", None)],
    "answers of a turn": [changed("turns", "answers", []), changed("turns", "answers", ["one", "two"])],
    "event twice or out of order": [
        changed("scans", "frames", [FRAMES[0], FRAMES[0], *FRAMES[1:]]),
        changed("scans", "frames", [FRAMES[1], FRAMES[0], FRAMES[2]]),
    ],
    "event missed": [changed("turns", "frames", [{"stage": "queued", "seq": 1}, {"stage": "done", "seq": 3}])],
    "endings": [
        changed("scans", "frames", FRAMES[:2]),
        changed("scans", "frames", [*FRAMES, {"stage": "done", "seq": 4, "result": RESULT}]),
    ],
    "two results": [
        changed("scans", "results", [RESULT, {**RESULT, "item": "bottle"}]),
        changed("scans", "results", [{**RESULT, "outcome": "failed"}]),
    ],
    "paid again": [
        lambda evidence: evidence.calls["job"]["vision"].update(answers=3),
        lambda evidence: evidence.calls["turn"]["answer"].update(answers=2),
    ],
    "reward lost": [lambda evidence: evidence.owned.clear()],
    "points twice": [lambda evidence: evidence.points.append("job")],
    "revoked session": [lambda evidence: evidence.revoked.append(RevokedUse(5.0, 11.0, 200))],
    "not recovered": [lambda evidence: evidence.disturbances.append(Disturbance("kill web", 30.0, 90.0, None))],
    "left behind": [
        lambda evidence: evidence.waiting.update({"eco2 scan.vision": 1}),
        lambda evidence: evidence.unsent.update(outbox=1),
    ],
    "dead letter": [lambda evidence: evidence.dead["eco2 dlq.scan.vision"].append("ours")],
}


def test_a_run_without_harm_has_no_findings() -> None:
    assert audit(harmless()) == []


@pytest.mark.parametrize(("kind", "harm"), [(kind, harm) for kind, harms in HARM.items() for harm in harms])
def test_harm_is_found(kind: str, harm: Callable[[Evidence], object]) -> None:
    evidence = harmless()
    harm(evidence)
    assert {finding.kind for finding in audit(evidence)} == {kind}


def test_a_fault_may_cost_all_events_but_the_end() -> None:
    evidence = harmless()
    evidence.scans[0].frames = [FRAMES[2]]
    assert audit(evidence) == []


def test_availability_counts_acts_that_took_too_long_and_attempts_that_failed() -> None:
    evidence = harmless()
    evidence.requests = [Request(1.0, status) for status in (200, 202, 404, 429, 0, 503, 500, 200)]
    evidence.acts = [Act(1.0, seconds) for seconds in (0.1, 29.0, 31.0, None)]
    found = availability(evidence)
    assert (found.requests, found.acts) == (5 / 8, 1 / 2)
