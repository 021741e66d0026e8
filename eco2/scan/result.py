"""The result of a scan as the API answers it."""

from typing import Literal

from eco2.contracts.events import Draft, Stage, Status
from eco2.knowledge import Knowledge
from eco2.scan import stages
from eco2.scan.failures import GivenUp
from eco2.scan.store import Job, Json

Outcome = Literal["answered", "unsure", "failed"]


def outcome(job: Job) -> Outcome | None:
    """None while the job has not ended."""
    if job.status == "failed":
        return "failed"
    if job.status != "completed" or job.rule is None:
        return None
    return "unsure" if stages.unsure(job.rule) else "answered"


def result_body(knowledge: Knowledge, job: Job) -> Json:
    """The result of a finished job as the contract has it.

    Every end is `completed` on the wire: clients show one without `pipeline_result` at once, with its `error`."""
    body: Json = {
        "task_id": str(job.id),
        "status": "completed",
        "outcome": outcome(job),
        "message": None,
        "error": None,
        "code": None,
        "pipeline_result": None,
        "reward": None,
        "needs_choice": False,
        "candidates": [],
    }
    match body["outcome"]:
        case "answered":
            return body | _answered(knowledge, job)
        case "unsure":
            return body | _unsure(job)
        case _:
            return {**body, "error": job.error or GivenUp().message, "code": job.error_code or GivenUp.code}


def done_event(knowledge: Knowledge, job: Job) -> Draft:
    """The terminal event of a finished job: all that a result shows. `disposal_rules` are null, of other things too:
    they are most of a result's 6 to 11 kB, no page shows them, and `result_url` has them."""
    body = result_body(knowledge, job)
    if body["pipeline_result"] is not None:
        others = [{**other, "disposal_rules": None} for other in body["pipeline_result"]["others"]]
        body["pipeline_result"] = {**body["pipeline_result"], "disposal_rules": None, "others": others}
    return Draft(Stage.DONE, Status.COMPLETED, 100, body, message=body["error"])


def _answered(knowledge: Knowledge, job: Job) -> Json:
    assert job.rule is not None, "an answer has its rule"
    candidates = job.rule["candidates"] if job.rule["needs_choice"] else []
    return {
        "pipeline_result": {
            "classification_result": stages.classification(knowledge, job.rule, job.user_input),
            "disposal_rules": job.rule["disposal_rules"],
            "final_answer": {name: value for name, value in (job.answer or {}).items() if name != "source"},
            "stream": stages.stream(knowledge, job.rule),
            "others": job.rule.get("others", []),
        },
        "reward": {name: text for name, text in job.reward.items() if name != "code"} if job.reward else None,
        "needs_choice": bool(candidates),
        "candidates": candidates,
    }


def _unsure(job: Job) -> Json:
    assert job.rule is not None, "what is unsure was looked at"
    code = "NOT_RECOGNIZED" if job.rule.get("waste", True) else "NO_WASTE"
    return {"error": (job.answer or {}).get("user_answer", ""), "code": code}
