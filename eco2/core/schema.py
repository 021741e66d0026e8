"""The schema that a database has, and the one that this release needs. Alembic is only for migrating."""

import logging
import re
import time
from pathlib import Path

import psycopg

from eco2.core.errors import AppError

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parents[2] / "migrations"
POLL_SECONDS = 1.0
CONNECT_SECONDS = 10
_NAMED = re.compile(r"""^(down_revision|revision)\b[^=]*= *["']([^"']+)["']""", re.MULTILINE)


class DatabaseNewer(AppError):
    """The database has migrations that this release does not know."""

    code = "DATABASE_NEWER"


class DatabaseOlder(AppError):
    """The database does not have the schema of this release yet; run `eco2 migrate`."""

    code = "DATABASE_OLDER"


def revisions() -> tuple[set[str], str]:
    """All that this release knows, and the newest of them, as the files of the one history name them."""
    known, followed = set(), set()
    for path in (MIGRATIONS / "versions").glob("*.py"):
        names = dict(_NAMED.findall(path.read_text()))
        known.add(names["revision"])
        followed.add(names.get("down_revision", ""))
    (head,) = known - followed
    return known, head


def applied(database_url: str) -> str | None:
    """Revision of the database; None for one without a schema. psycopg.OperationalError: it does not answer."""
    with psycopg.connect(database_url, connect_timeout=CONNECT_SECONDS) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return None
    return str(row[0]) if row else None


def wait(database_url: str, seconds: float) -> None:
    """Return when the database has the schema of this release, or of a newer one. DatabaseOlder after `seconds`."""
    known, head = revisions()
    older, end = known - {head}, time.monotonic() + seconds
    while (found := _applied_or_none(database_url)) is None or found in older:
        if time.monotonic() >= end:
            raise DatabaseOlder(
                f"The database is away or has no schema, or that of revision {found or 'none'}; this release needs "
                f"{head}: run `eco2 migrate`."
            )
        time.sleep(min(POLL_SECONDS, seconds))


def _applied_or_none(database_url: str) -> str | None:
    """None also while the server is away: a wait for the schema includes the wait for the server."""
    try:
        return applied(database_url)
    except psycopg.OperationalError as error:
        log.warning("the database does not answer: %s", str(error).partition("\n")[0])
        return None


def require_known(database_url: str) -> None:
    """DatabaseNewer for a database that a newer release has migrated."""
    known, head = revisions()
    found = applied(database_url)
    if found and found not in known:
        raise DatabaseNewer(
            f"The database is newer (revision {found}) than this release ({head}): "
            "run the release that it belongs to, or restore a backup of before (docs/runbooks/restore.md)."
        )
