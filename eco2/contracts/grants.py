"""The message on `reward.character`: one character earned by one job."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

PHASH_BITS = 256
TWIN_BITS = 24
"""Largest distance of two perceptual hashes that still counts as the same photo."""

Hex256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Photo(BaseModel):
    """What tells one photo from another: SHA-256 of its bytes, and its perceptual hash; both as hex."""

    model_config = ConfigDict(frozen=True)

    digest: Hex256
    phash: Hex256


class Grant(BaseModel):
    """JSON body. May be delivered any number of times; (user_id, character_code) is owned once.

    Fields that are not known yet are ignored, so that a sender may be newer than its reader.
    """

    model_config = ConfigDict(frozen=True)

    job_id: UUID
    user_id: UUID
    character_code: str
    source: Literal["scan"]
    earned_at: AwareDatetime
    photo: Photo | None = None
    """None where the sender could not tell (a job of an older version)."""
