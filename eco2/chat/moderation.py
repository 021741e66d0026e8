"""Moderation of each message before it is answered."""

import asyncio
import logging
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from prometheus_client import Counter

from eco2.chat.agent.understanding import HARM
from eco2.core.errors import BadRequest
from eco2.knowledge import Knowledge, recognising
from eco2.llm.settings import Endpoint, LlmSettings
from eco2.llm.wire import JOB_HEADER, PURPOSE_HEADER

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PURPOSE = "chat_moderation"
CONNECTIONS = 64
REST_SECONDS = 30.0
"""Time for which an endpoint is left alone after a call that failed: no message waits for it meanwhile."""

MODERATED = Counter("eco2_chat_moderated_total", "Messages that were looked at before an answer", ["outcome"])

log = logging.getLogger(__name__)


class MessageRefused(BadRequest):
    """이 메시지에는 답할 수 없어요. 다르게 물어봐 주세요."""

    code = "MESSAGE_REFUSED"


class Moderate(Protocol):
    async def __call__(self, text: str, job: str) -> bool:
        """True where the message is not to be answered."""


async def check(moderate: Moderate | None, knowledge: Knowledge, text: str, job: str) -> None:
    """MessageRefused. Words about harm are never refused: who swallowed something needs the answer."""
    if moderate is None or HARM.search(text) or recognising.emergency(knowledge, text):
        return
    if await moderate(text, job):
        raise MessageRefused


class Moderation:
    """The moderation endpoint of a provider (`/v1/moderations`). What it does not answer in time is let through."""

    def __init__(self, settings: LlmSettings, model: str, seconds: float) -> None:
        # Imported here: 20 MB and most of a second, in processes without it.
        from eco2.llm.client import client

        endpoint = _endpoint(settings, model)
        self._client: AsyncOpenAI = client(endpoint.api_key, endpoint.base_url, CONNECTIONS)
        self._model, self._seconds = model, seconds
        self._rests_until = float("-inf")

    async def aclose(self) -> None:
        await self._client.close()

    async def __call__(self, text: str, job: str) -> bool:
        import openai

        loop = asyncio.get_running_loop()
        if loop.time() < self._rests_until:
            MODERATED.labels("skipped").inc()
            return False
        headers = {JOB_HEADER: job, PURPOSE_HEADER: PURPOSE}
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._client.moderations.create(model=self._model, input=text, extra_headers=headers)
            refused = any(one.flagged for one in answer.results)
        except (openai.OpenAIError, TimeoutError, ValueError, TypeError, AttributeError) as error:
            log.warning("a message was not looked at: %r", error)
            self._rests_until = loop.time() + REST_SECONDS
            MODERATED.labels("failed").inc()
            return False
        MODERATED.labels("refused" if refused else "passed").inc()
        return refused


def _endpoint(settings: LlmSettings, model: str) -> Endpoint:
    """The provider that names the model, else the one that has no name of its own."""
    endpoints = settings.endpoints()
    serving = (one for one in endpoints.values() if any(fnmatchcase(model, pattern) for pattern in one.models))
    return next(serving, None) or endpoints.get("default") or next(iter(endpoints.values()))
