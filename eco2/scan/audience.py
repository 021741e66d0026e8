"""Language and region that an answer is written for."""

from dataclasses import dataclass
from typing import Self

from eco2.knowledge import Knowledge, Lang, Region, regions


@dataclass(frozen=True)
class Audience:
    """Language of the words, and the region whose rules hold where the user lives (None: national rules)."""

    lang: Lang = "ko"
    region: Region | None = None

    @classmethod
    def of(cls, knowledge: Knowledge, language: str | None, district: str | None) -> Self:
        """From the user's preferences; None where there is none."""
        return cls("en" if language == "en" else "ko", regions.of(knowledge, district))


ANYBODY = Audience()
