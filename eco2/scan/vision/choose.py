"""Choice of the model for a job, reuse of its answers, and the fallback when it fails."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import orjson
from prometheus_client import Counter

from eco2.photos.pool import Decoders
from eco2.scan.audience import ANYBODY, Audience
from eco2.scan.outputs import Answer, FinalAnswer, Rule, VisionResult
from eco2.scan.vision.cache import LookAlike, ResultCache
from eco2.scan.vision.phash import hexadecimal
from eco2.scan.vision.picture import FOR_BOTH, FOR_EMBEDDED, FOR_PAID, Picture
from eco2.scan.vision.providers import Embedded, Provider, ProviderFailed

log = logging.getLogger(__name__)

FALLBACKS = Counter(
    "eco2_scan_fallbacks_total", "Stages answered by the embedded model because the paid one failed", ["stage"]
)


CASCADE = Counter(
    "eco2_scan_cascade_total", "First looks of the embedded model by what became of the paid one", ["outcome"]
)
SAVED = Counter("eco2_scan_cascade_saved_usd_total", "Estimated cost of the paid looks that were skipped or downgraded")


@dataclass(frozen=True)
class Cascade:
    """When the embedded model looks first. Where it is sure, and the user neither asked anything nor named a model,
    the paid look is skipped, or made by `cheaper`; else the paid model sees its guesses."""

    confidence: float
    cheaper: str | None = None


@dataclass(frozen=True)
class Models:
    """`paid` gives the provider of a requested model name (None: the default model), or None without a key.

    What `look` and `answer` return carries its `source`, and what `look` returns `digest` and `phash` besides.
    """

    embedded: Embedded
    paid: Callable[[str | None], Provider | None]
    cache: ResultCache
    decoders: Decoders
    cascade: Cascade | None = None

    def picture(self, user: object, model: str | None, data: bytes = b"") -> Picture:
        """For `look` with this model; opened together are the views that it is about to need."""
        with_key = FOR_BOTH if self.cascade else FOR_PAID
        wanted = FOR_EMBEDDED if self.paid(model) is None else with_key
        return Picture(self.decoders, user, wanted, data)

    async def look(self, picture: Picture, model: str | None, *, asked: bool = True) -> VisionResult:
        """The embedded model answers where the paid one fails; that is not remembered.

        `asked`: whether the user said something with the photo.
        """
        found = await self._seen(picture, model, asked)
        phash = found.phash or hexadecimal(await picture.phash())
        return replace(found, phash=phash, digest=picture.digest)

    async def _seen(self, picture: Picture, model: str | None, asked: bool) -> VisionResult:
        provider = self.paid(model)
        if provider is None:
            # The embedded model costs as much as a lock: let two do the same work now and then.
            return await self._look(self.embedded, picture, share=False)
        try:
            hint = await self._hint(provider, picture)
            if self.cascade and hint and model is None and not asked and _sure(hint, self.cascade):
                return await self._save(provider, self.cascade, picture, hint)
            if hint is not None:
                CASCADE.labels("paid").inc()
            return await self._look(provider, picture, hint)
        except ProviderFailed as error:
            _fell_back("vision", error)
            return replace(await self.embedded.look(picture), source="fallback")

    async def _hint(self, provider: Provider, picture: Picture) -> VisionResult | None:
        """Look with the embedded model, where it looks first and the paid one has not seen this photo yet."""
        if self.cascade is None:
            return None
        known = await self.cache.peek("vision", self._version(provider), picture.digest)
        return None if known else await self.embedded.look(picture)

    async def _look(
        self,
        provider: Provider,
        picture: Picture,
        hint: VisionResult | None = None,
        *,
        share: bool = True,
    ) -> VisionResult:
        """With `phash`, where the cache works: remembered with the result, so that an exact hit needs no decoding."""

        async def compute() -> VisionResult:
            seen = await provider.look(picture, hint)
            return seen if share else replace(seen, phash=hexadecimal(await picture.phash()))

        version, near = self._version(provider), LookAlike(picture.phash, _hashed) if share else None
        found, source = await self.cache.get_or_compute(
            VisionResult, "vision", version, picture.digest, compute, share=share, look_alike=near
        )
        return replace(found, source=source)

    def _version(self, provider: Provider) -> str:
        """A paid model that is given the embedded one's guesses may see another thing than one that is not."""
        hinted = self.cascade is not None and provider is not self.embedded
        return f"{provider.vision_version}+{self.embedded.vision_version}" if hinted else provider.vision_version

    async def _save(self, provider: Provider, cascade: Cascade, picture: Picture, hint: VisionResult) -> VisionResult:
        """The result without the paid look, or with a cheaper one; counted once the saving is made."""
        cheaper = self.paid(cascade.cheaper) if cascade.cheaper else None
        if cheaper is None:
            found = replace(hint, source="cascade")
        else:
            found = await self._look(cheaper, picture, hint)
        CASCADE.labels("downgraded" if cheaper else "skipped").inc()
        SAVED.inc(max(0.0, provider.look_usd - (cheaper.look_usd if cheaper else 0.0)))
        return found

    async def answer(
        self,
        rule: Rule,
        composed: FinalAnswer,
        user_input: str | None,
        model: str | None,
        audience: Audience = ANYBODY,
    ) -> Answer:
        """`composed`, or what the paid model chooses of its facts for the user's words. Without words there is nothing
        to choose by, and the model is not paid."""
        provider = self.paid(model)
        if provider is None or rule.item_id is None or not (user_input and user_input.strip()):
            return Answer.of(composed, "rules")

        async def compute() -> FinalAnswer:
            return await provider.answer(rule, composed, user_input, audience)

        region = audience.region.id if audience.region else None
        material = orjson.dumps([vars(composed), user_input, audience.lang, region], option=orjson.OPT_SORT_KEYS)
        digest = hashlib.sha256(material).hexdigest()
        try:
            found, source = await self.cache.get_or_compute(
                FinalAnswer, "answer", provider.answer_version, digest, compute
            )
        except ProviderFailed as error:
            _fell_back("answer", error)
            return Answer.of(composed, "fallback")
        return Answer.of(found, source)


def _hashed(seen: VisionResult, phash: int) -> VisionResult:
    return replace(seen, phash=hexadecimal(phash))


def _sure(hint: VisionResult, cascade: Cascade) -> bool:
    return hint.item_id is not None and hint.confidence >= cascade.confidence


def _fell_back(stage: str, error: ProviderFailed) -> None:
    log.warning("the paid model failed, the embedded one answers: %s", error)
    FALLBACKS.labels(stage).inc()
