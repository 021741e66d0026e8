"""Providers that look at a photo and word an answer: the embedded model and the rule base, or an LLM.

Both sides of the protocol are in the repository; `eco2.scan.vision.llm` has the other one.
"""

import asyncio
from concurrent.futures import Executor
from typing import Protocol

from eco2.scan.audience import Audience
from eco2.scan.outputs import FinalAnswer, Rule, VisionResult
from eco2.scan.vision.embedded import EmbeddedVision
from eco2.scan.vision.picture import Picture


class Provider(Protocol):
    """One model. A call that fails for good raises `ProviderFailed`; the caller then falls back to the embedded one."""

    @property
    def vision_version(self) -> str:
        """Changes whenever the same photo could be seen differently: model, prompt, taxonomy."""

    @property
    def answer_version(self) -> str:
        """Changes whenever the same rule could be worded differently."""

    @property
    def look_usd(self) -> float:
        """Estimated cost of one look."""

    async def look(self, picture: Picture, hint: VisionResult | None = None) -> VisionResult:
        """Look at the (checked) photo. `hint`: the result of a lesser model."""

    async def answer(
        self, rule: Rule, composed: FinalAnswer, user_input: str | None, audience: Audience
    ) -> FinalAnswer:
        """`composed`, worded for this user."""


class ProviderFailed(Exception):
    """The model gave no usable answer after its retries, or may not be asked (no budget, switched off)."""


class Embedded:
    """The model that ships with the platform, and the answers composed from the rules. Never fails for good."""

    def __init__(self, vision: EmbeddedVision, executor: Executor, answer_version: str) -> None:
        self._vision = vision
        self._executor = executor
        self.vision_version = vision.name
        self.answer_version = answer_version

    look_usd = 0.0

    async def look(self, picture: Picture, hint: VisionResult | None = None) -> VisionResult:  # noqa: ARG002
        square = await picture.square()
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._vision.classify, square)

    async def answer(
        self,
        rule: Rule,  # noqa: ARG002
        composed: FinalAnswer,
        user_input: str | None,  # noqa: ARG002
        audience: Audience,  # noqa: ARG002
    ) -> FinalAnswer:
        return composed
