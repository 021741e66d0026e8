"""Judge the evidence of a run: each finding is harm that must never happen, whatever was broken meanwhile."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from eco2.contracts.events import FIRST_TOKEN
from tests.chaos.evidence import Disturbance, Evidence, Json, ScanSeen, TurnSeen

OVER = ("completed", "failed")
ANSWER_SECONDS = 30.0
"""For which a user waits while the app tries again."""
REVOKED_SECONDS = 5.0
"""Until a session that was ended is refused everywhere, in the worst case."""


@dataclass(frozen=True)
class Finding:
    kind: str
    subject: str
    detail: str


def clients(evidence: Evidence) -> list[ScanSeen | TurnSeen]:
    return [*evidence.scans, *evidence.turns]


def audit(evidence: Evidence) -> list[Finding]:
    return [finding for check in CHECKS for finding in check(evidence)]


def lost(evidence: Evidence) -> Iterator[Finding]:
    """An accepted scan is in the database, has ended, and its client has seen the end."""
    for scan in evidence.scans:
        if scan.job is None:
            continue
        row = evidence.jobs.get(scan.job)
        if row is None:
            yield Finding("lost", scan.job, "it was accepted and is not in the database")
        elif row.status not in OVER:
            yield Finding("hung", scan.job, f"it is still {row.status}")
        elif scan.ended is None:
            yield Finding("hung", scan.job, "its client never saw the end")
        elif not row.announced:
            yield Finding("unannounced", scan.job, "it ended and was not marked as announced")


def lost_turns(evidence: Evidence) -> Iterator[Finding]:
    """An accepted message of a chat has ended, and its history has one answer where it was completed."""
    for turn in evidence.turns:
        if turn.job is None:
            continue
        status = evidence.turn_states.get(turn.job)
        if status is None:
            yield Finding("lost turn", turn.job, "it was accepted and is not in the database")
        elif status not in (*OVER, "cancelled"):
            yield Finding("hung turn", turn.job, f"it is still {status}")
        elif turn.ended is None:
            yield Finding("hung turn", turn.job, "its client never saw the end")
        elif turn.answers is not None and status == "completed" and len(turn.answers) != 1:
            yield Finding("answers of a turn", turn.job, f"the history shows {len(turn.answers)} answers")


def streams(evidence: Evidence) -> Iterator[Finding]:
    """Each client sees every numbered event once, in order, and one end. Pieces of text have numbers of their own.

    Where events are silent the gateway ends the stream of a job that is over, so a fault may cost all but the end."""
    for seen in clients(evidence):
        if seen.job is None:
            continue
        numbers = [int(frame["seq"]) for frame in seen.frames if int(frame.get("seq", FIRST_TOKEN)) < FIRST_TOKEN]
        rising = all(later > earlier for earlier, later in pairwise(numbers))
        if not rising:
            yield Finding("event twice or out of order", seen.job, f"seq {numbers}")
        elif seen.ended is not None and missed(numbers) and not overlapping(evidence.disturbances, seen):
            yield Finding("event missed", seen.job, f"seq {numbers}")
        ends = sum(frame.get("stage") == "done" for frame in seen.frames)
        if ends > 1 or (seen.ended is not None and ends == 0):
            yield Finding("endings", seen.job, f"its client saw {ends} ends")


def missed(numbers: Sequence[int]) -> bool:
    return list(numbers) != list(range(1, len(numbers) + 1))


def changed_results(evidence: Evidence) -> Iterator[Finding]:
    """A result that was shown stays as it is, and is the one that the stream told."""
    for scan in evidence.scans:
        told = [frame["result"] for frame in scan.frames if frame.get("stage") == "done" and "result" in frame]
        outcomes = {str(result.get("outcome")) for result in (*told, *scan.results)}
        if len(outcomes) > 1:
            yield Finding("two results", scan.job or "", f"outcomes {sorted(outcomes)}")
        elif len(scan.results) > 1 and any(stable(result) != stable(scan.results[0]) for result in scan.results):
            yield Finding("two results", scan.job or "", "its result changed after the end")


def stable(result: Json) -> Json:
    """A result without its addresses, which are signed anew for each reader."""
    return {key: value for key, value in result.items() if not key.endswith("_url")}


def paid_again(evidence: Evidence) -> Iterator[Finding]:
    """A stage is paid once, and once more at most for each fault of the job's lifetime: what was in flight then."""
    lives = {seen.job: seen for seen in clients(evidence) if seen.job}
    for job, purposes in evidence.calls.items():
        if job not in lives:
            continue
        allowed = 1 + len(overlapping(evidence.disturbances, lives[job]))
        for purpose, counts in purposes.items():
            if int(counts["answers"]) > allowed:
                yield Finding("paid again", job, f"{purpose}: {counts['answers']} answers, {allowed - 1} faults")


def overlapping(disturbances: Sequence[Disturbance], seen: ScanSeen | TurnSeen) -> list[Disturbance]:
    until = float("inf") if seen.ended is None else seen.ended
    return [one for one in disturbances if one.began <= until and one.ended >= seen.submitted]


def rewards(evidence: Evidence) -> Iterator[Finding]:
    """A promised character is owned, and a job has one row of points at most."""
    for row in evidence.jobs.values():
        if row.status == "completed" and row.reward and (row.user, row.reward) not in evidence.owned:
            yield Finding("reward lost", row.id, f"{row.reward} was promised")
    for job, rows in Counter(evidence.points).items():
        if rows > 1:
            yield Finding("points twice", job, f"{rows} rows")


def sessions(evidence: Evidence) -> Iterator[Finding]:
    """A session that was ended is let in nowhere."""
    for use in evidence.revoked:
        if use.at - use.revoked > REVOKED_SECONDS and 200 <= use.status < 400:
            yield Finding("revoked session", "", f"let in {use.at - use.revoked:.1f} s after its end")


def recoveries(evidence: Evidence) -> Iterator[Finding]:
    for one in evidence.disturbances:
        if one.recovery is None:
            yield Finding("not recovered", one.name, "not all processes were ready in time")


def leftovers(evidence: Evidence) -> Iterator[Finding]:
    """Nothing is left in queues and outboxes, and only what the run poisoned is a dead letter."""
    for queue, count in (*evidence.waiting.items(), *evidence.unsent.items()):
        if count:
            yield Finding("left behind", queue, f"{count} messages")
    for queue, letters in evidence.dead.items():
        if strange := [letter for letter in letters if letter not in evidence.poison]:
            yield Finding("dead letter", queue, f"{len(strange)}, the first is {strange[0]}")


CHECKS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    lost,
    lost_turns,
    streams,
    changed_results,
    paid_again,
    rewards,
    sessions,
    recoveries,
    leftovers,
)


@dataclass(frozen=True)
class Availability:
    """Shares from 0 to 1: of attempts answered without a 5xx, and of acts answered within ANSWER_SECONDS."""

    requests: float
    acts: float


def availability(evidence: Evidence) -> Availability:
    answered = sum(0 < request.status < 500 for request in evidence.requests)
    done = sum(act.seconds is not None and act.seconds <= ANSWER_SECONDS for act in evidence.acts)
    return Availability(answered / max(1, len(evidence.requests)), done / max(1, len(evidence.acts)))
