"""Roles that an operator grants. They are in the tokens, so withdrawing a role ends the sessions that have it."""

from datetime import timedelta
from typing import Literal
from uuid import UUID

from eco2.auth import keys, store
from eco2.contracts.identity import is_guest
from eco2.core.errors import BadRequest, NotFound
from eco2.core.postgres import Database

Grantable = Literal["steward", "operator"]


class NoRole(NotFound):
    """This user has no role to withdraw; `eco2 auth role list` shows all roles."""

    code = "NO_ROLE"


class GuestRole(BadRequest):
    """A guest has no account that could have a role; they sign in first."""

    code = "GUEST_ROLE"


async def grant(db: Database, user: UUID, role: Grantable, by: str) -> None:
    """From the next sign-in or refresh on. GuestRole."""
    if is_guest(user):
        raise GuestRole
    async with db.transaction() as tx:
        await store.grant_role(tx, user, role, by)


async def withdraw(db: Database, user: UUID, access_ttl: timedelta) -> int:
    """Ends the sessions of the user, and how many they are; auth-api tells every ext-authz within a second. NoRole."""
    life = access_ttl + timedelta(seconds=keys.LEEWAY_SECONDS + 1)
    async with db.transaction() as tx:
        sessions = await store.withdraw_role(tx, user)
        if sessions is None:
            raise NoRole
        await store.end_sessions(tx, user, "role_withdrawn", sessions)
        await store.add_revocations(tx, user, sessions, life, "role_withdrawn")
    return len(sessions)
