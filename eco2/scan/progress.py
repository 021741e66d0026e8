"""Progress of a scan: the events of its stages, and the progress of a stored job."""

from eco2.contracts.events import Draft, Stage, Status
from eco2.scan.job import Job

PROGRESS = {"queued": 0, "vision": 25, "rule": 50, "answer": 75, "reward": 100}
"""Progress when the stage is completed; when it starts, that of the stage before."""


_STAGE_TEXTS = {
    "upload": ("사진을 기다리고 있어요.", "Waiting for the photo."),
    "queued": ("순서를 기다리고 있어요.", "Waiting for its turn."),
    "vision": ("사진을 보고 있어요.", "Looking at the photo."),
    "rule": ("배출 규칙을 찾고 있어요.", "Looking up the rules."),
    "answer": ("안내를 쓰고 있어요.", "Writing the guide."),
    "reward": ("보상을 확인하고 있어요.", "Checking for a reward."),
    "done": ("다 됐어요.", "Done."),
}


def stage_text(stage: str, language: str | None) -> str:
    """Message for a citizen about a job in this stage; `language` is the job's."""
    korean, english = _STAGE_TEXTS[stage]
    return english if language == "en" else korean


def both(stage: Stage) -> tuple[Draft, Draft]:
    return started(stage), completed(stage)


def started(stage: Stage) -> Draft:
    before = max(0, PROGRESS[stage] - 25)
    return Draft(stage, Status.STARTED, before)


def completed(stage: Stage) -> Draft:
    return Draft(stage, Status.COMPLETED, PROGRESS[stage])


def progress_of(job: Job) -> tuple[str, int]:
    """(stage that is running, percent) of an open job."""
    if job.status == "waiting":
        return "upload", 0
    if job.rule is not None:
        return "answer", PROGRESS["rule"]
    if job.vision is not None:
        return "rule", PROGRESS["vision"]
    return "vision" if job.status == "processing" else "queued", 0
