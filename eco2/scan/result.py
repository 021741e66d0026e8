"""The result of a scan as the API answers it."""

from dataclasses import dataclass, replace
from typing import Literal

from eco2.contracts.events import Draft, Stage, Status
from eco2.knowledge import Knowledge
from eco2.scan import classified, stages
from eco2.scan.failures import GivenUp
from eco2.scan.job import Job
from eco2.scan.outputs import Classified, FinalAnswer, Json, Option, OtherThing, Rule, Stream, plain

Outcome = Literal["answered", "unsure", "failed"]


@dataclass(frozen=True)
class PipelineResult:
    classification_result: Classified
    disposal_rules: Json | None
    final_answer: FinalAnswer
    stream: Stream | None
    others: tuple[OtherThing, ...]


@dataclass(frozen=True)
class EarnedReward:
    name: str
    dialog: str
    match_reason: str
    type: str


@dataclass(frozen=True)
class Result:
    """Body of a result. Every end is `completed` on the wire: clients show one without `pipeline_result` at once, with
    its `error`. `outcome` is None while the job has not ended."""

    task_id: str
    outcome: Outcome | None
    error: str | None = None
    code: str | None = None
    pipeline_result: PipelineResult | None = None
    reward: EarnedReward | None = None
    needs_choice: bool = False
    candidates: tuple[Option, ...] = ()

    def body(self) -> Json:
        """As the contract has it."""
        return {
            "task_id": self.task_id,
            "status": "completed",
            "outcome": self.outcome,
            "message": None,
            "error": self.error,
            "code": self.code,
            "pipeline_result": plain(self.pipeline_result),
            "reward": plain(self.reward),
            "needs_choice": self.needs_choice,
            "candidates": plain(self.candidates),
        }


def outcome(job: Job) -> Outcome | None:
    """None while the job has not ended."""
    if job.status == "failed":
        return "failed"
    if job.status != "completed":
        return None
    if job.rule is None or job.answer is None:  # stored, but not to be read
        return "failed"
    return "unsure" if stages.unsure(job.rule) else "answered"


def result_of(knowledge: Knowledge, job: Job) -> Result:
    ended, rule = outcome(job), job.rule
    if rule is not None and ended == "answered":
        return _answered(knowledge, job, rule)
    if rule is not None and ended == "unsure":
        code = "NOT_RECOGNIZED" if rule.waste else "NO_WASTE"
        return Result(str(job.id), ended, error=job.answer.user_answer if job.answer else "", code=code)
    return Result(str(job.id), ended, error=job.error or GivenUp().message, code=job.error_code or GivenUp.code)


def result_body(knowledge: Knowledge, job: Job) -> Json:
    """The result of a finished job as the contract has it."""
    return result_of(knowledge, job).body()


def done_event(knowledge: Knowledge, job: Job) -> Draft:
    """The terminal event of a finished job: all that a result shows. `disposal_rules` are null, of other things too:
    they are most of a result's 6 to 11 kB, no page shows them, and `result_url` has them."""
    result = result_of(knowledge, job)
    if (found := result.pipeline_result) is not None:
        others = tuple(replace(other, disposal_rules=None) for other in found.others)
        result = replace(result, pipeline_result=replace(found, disposal_rules=None, others=others))
    return Draft(Stage.DONE, Status.COMPLETED, 100, result.body(), message=result.error)


def _answered(knowledge: Knowledge, job: Job, rule: Rule) -> Result:
    assert job.answer is not None, "a completed job has its answer"
    candidates = rule.candidates if rule.needs_choice else ()
    earned = job.reward
    return Result(
        str(job.id),
        "answered",
        pipeline_result=PipelineResult(
            classification_result=classified.classification(knowledge, rule, job.user_input),
            disposal_rules=rule.disposal_rules,
            final_answer=job.answer.words,
            stream=classified.stream(knowledge, rule),
            others=rule.others,
        ),
        reward=EarnedReward(earned.name, earned.dialog, earned.match_reason, earned.type) if earned else None,
        needs_choice=bool(candidates),
        candidates=candidates,
    )
