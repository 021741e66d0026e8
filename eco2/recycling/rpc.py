"""gRPC of recycling-api: the data of a user. Guests have no reminders, so nothing is claimed."""

from collections.abc import Mapping
from functools import partial
from uuid import UUID

from eco2.core import user_data
from eco2.core.grpc import Register
from eco2.core.postgres import Database
from eco2.recycling import reminder_store


def registers(db: Database) -> Mapping[str, Register]:
    async def export(user: UUID, _cursor: str) -> tuple[user_data.Records, str]:
        return [("reminders", row) for row in await reminder_store.exported(db, user)], ""

    return {user_data.NAME: user_data.register(export, partial(reminder_store.forget, db))}
