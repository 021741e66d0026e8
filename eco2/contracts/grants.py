"""The message on `reward.character`: one character earned by one job."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Grant(BaseModel):
    """JSON body. May be delivered any number of times; (user_id, character_code) is owned once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_id: UUID
    user_id: UUID
    character_code: str
    source: Literal["scan"]
    earned_at: datetime
