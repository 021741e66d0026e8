"""The result of a scan as the API answers it."""

from eco2.knowledge import Knowledge
from eco2.scan import stages
from eco2.scan.store import Job, Json


def result_body(knowledge: Knowledge, job: Job) -> Json:
    """The result of a finished job as the contract has it."""
    body: Json = {
        "task_id": str(job.id),
        "status": job.status,
        "message": None,
        "error": job.error,
        "pipeline_result": None,
        "reward": None,
        "needs_choice": False,
        "candidates": [],
    }
    if job.status != "completed" or job.rule is None:
        return body
    reward = {name: text for name, text in job.reward.items() if name != "code"} if job.reward else None
    return {
        **body,
        "pipeline_result": {
            "classification_result": stages.classification(knowledge, job.rule, job.user_input),
            "disposal_rules": job.rule["disposal_rules"],
            "final_answer": {name: value for name, value in (job.answer or {}).items() if name != "source"},
            "stream": stages.stream(knowledge, job.rule),
            "others": job.rule.get("others", []),
        },
        "reward": reward,
        "needs_choice": job.rule["needs_choice"],
        "candidates": job.rule["candidates"] if job.rule["needs_choice"] else [],
    }
