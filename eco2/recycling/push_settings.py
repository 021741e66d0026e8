"""Keys of Web Push, as batch-worker is given them."""

from typing import Self

from pydantic import field_validator, model_validator

from eco2.core.settings import DatabaseSettings, SettingsGroup
from eco2.recycling import push


class PushKeys(SettingsGroup):
    push_private_keys: str = ""
    """VAPID keys, 32 bytes in base64url with commas between them; `eco2 reminders key` makes one. Without one nobody is
    reminded. A former key stays until no reminder was made with it (docs/adr/0051)."""
    push_public_key: str = ""
    """The key that recycling-api lets browsers subscribe with."""

    @field_validator("push_private_keys")
    @classmethod
    def _are_keys(cls, text: str) -> str:
        push.read_keys(text)
        return text


class StatusSettings(DatabaseSettings, PushKeys):
    """Of a command that tells which keys do not belong together."""


class PushSettings(PushKeys):
    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        keys = push.read_keys(self.push_private_keys)
        if keys and self.push_public_key and self.push_public_key not in keys:
            raise ValueError(
                "ECO2_PUSH_PUBLIC_KEY belongs to none of ECO2_PUSH_PRIVATE_KEYS: nobody who subscribes could be "
                f"reminded. The public key of the first private one is {next(iter(keys))}"
            )
        return self
