"""`python -m eco2.recycling.evaluation [MOST]`: the questions of data/eval, worded by the paid model.

Skipped without a key.

The answers that users would get are graded: a wording that deviates from the rules falls back to the composed answer,
and counts as that. MOST (60) bounds the cost; the questions are taken evenly from the set.
"""

import asyncio
import sys
from collections.abc import Sequence

from eco2 import knowledge as kb
from eco2.core import redis
from eco2.knowledge.stewards import evaluation
from eco2.llm.calls import Llm
from eco2.llm.settings import LlmSettings
from eco2.recycling import service
from eco2.recycling.settings import SpendingSettings

MOST = 60


class Settings(LlmSettings, SpendingSettings):
    pass


async def grade(settings: Settings, most: int) -> tuple[list[evaluation.Score], int]:
    """The scores, and how many of the answers the model worded. ValueError without a Redis that counts the spending."""
    if settings.redis_cache_url is None:
        raise ValueError("Set ECO2_REDIS_CACHE_URL (`eco2 up` has one): the day's spending is counted there.")
    directory = kb.default_directory()
    knowledge, asked = kb.load(directory), evaluation.questions(directory)
    asked = asked[:: max(1, len(asked) // most)][:most]
    client = redis.connect(settings.redis_cache_url)
    llm = Llm(settings, client)
    paid = service.Paid(llm, settings.llm_default_model)
    try:
        calls = (service.ask(knowledge, paid, one.question, one.district, None) for one in asked)
        answers = await asyncio.gather(*calls)
    finally:
        await llm.aclose()
        await client.aclose()
    plain = evaluation.composed(knowledge)
    worded = sum(answer["answer"] != plain(one)["answer"] for one, answer in zip(asked, answers, strict=True))
    return [evaluation.score(one, answer) for one, answer in zip(asked, answers, strict=True)], worded


def main(arguments: Sequence[str]) -> int:
    settings = Settings()
    if not settings.endpoints():
        print("The wording of a paid model is not graded: there is no key (ECO2_LLM_API_KEY).")  # noqa: T201
        return 0
    try:
        scores, worded = asyncio.run(grade(settings, int(arguments[0]) if arguments else MOST))
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"{settings.llm_default_model} worded {worded} of {len(scores)} answers.\n")  # noqa: T201
    print(evaluation.worst(scores, 20), end="\n\n")  # noqa: T201
    print(evaluation.table(evaluation.figures(scores), {}))  # noqa: T201
    return int(any("dangerous" in score.faults for score in scores))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
