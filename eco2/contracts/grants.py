"""The message on `reward.character`: one character that a user comes to own."""

from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, model_validator

DEFAULT_CHARACTER = "char-eco"
"""Code of the character that everybody owns from the sign-up on."""


class Grant(BaseModel):
    """JSON body. May be delivered any number of times; (user_id, character_code) is owned once.

    `job_id` is that of the scan that earned it; a sign-up has none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_id: UUID | None
    user_id: UUID
    character_code: str
    source: Literal["scan", "signup"]
    earned_at: datetime

    @model_validator(mode="after")
    def _a_scan_has_a_job(self) -> Self:
        if self.source == "scan" and self.job_id is None:
            raise ValueError("a scan's grant names its job")
        return self
