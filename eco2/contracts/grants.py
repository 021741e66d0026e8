"""The message on `reward.character`: one character granted to a user."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

DEFAULT_CHARACTER = "char-eco"
"""Code of the character that every user owns from the sign-up on."""

PHASH_BITS = 256
TWIN_BITS = 24
"""Largest distance of two perceptual hashes that still counts as the same photo."""

Hex256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Photo(BaseModel):
    """Identity of a photo: SHA-256 of its bytes, and its perceptual hash; both as hex."""

    model_config = ConfigDict(frozen=True)

    digest: Hex256
    phash: Hex256


class Grant(BaseModel):
    """JSON body. May be delivered any number of times; (user_id, character_code) is owned once.

    `job_id` is that of the scan that earned it; a sign-up has none. Unknown fields are ignored, so that a sender may be
    newer than its reader.
    """

    model_config = ConfigDict(frozen=True)

    job_id: UUID | None
    user_id: UUID
    character_code: str
    source: Literal["scan", "signup"]
    earned_at: AwareDatetime
    photo: Photo | None = None
    """None where the sender could not tell (a job of an older version, a sign-up)."""

    @model_validator(mode="after")
    def _a_scan_has_a_job(self) -> Self:
        if self.source == "scan" and self.job_id is None:
            raise ValueError("a scan's grant names its job")
        return self
