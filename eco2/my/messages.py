"""Bodies of the outbox messages, in the form in which they are stored.

A field that is new needs a default: messages of the release before wait in the table while a release rolls out, and are
delivered by either. A field that a release does not know is left out by it.
"""

from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict


class Body(BaseModel):
    """`kind` of a message is a column of its row."""

    model_config = ConfigDict(frozen=True)

    kind: ClassVar[str]


class SignedUp(Body):
    """Grant the first character."""

    kind = "grant"
    earned_at: AwareDatetime


class Preferred(Body):
    """Copy the preferences, as they are when the message is delivered."""

    kind = "preferences"


class Left(Body):
    """Revoke the sessions of a deleted account."""

    kind = "revoke"
    issued_before: AwareDatetime


class Purge(Body):
    """Delete a user's data in a service."""

    kind = "purge"
    service: str


class Claim(Body):
    """Give a guest's data in a service to the user who claimed them."""

    kind = "claim"
    service: str
