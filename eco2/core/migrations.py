"""Runs the one Alembic history (`migrations/`)."""

import logging
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import OperationalError

from eco2.core.errors import AppError
from eco2.core.tables import psycopg_url

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parents[2] / "migrations"
POLL_SECONDS = 1.0
CONNECT_SECONDS = 10


def config(database_url: str) -> Config:
    """Alembic configuration for `postgresql://…`."""
    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS))
    found.attributes["database_url"] = database_url
    return found


class DatabaseNewer(AppError):
    """The database has migrations that this release does not know."""

    code = "DATABASE_NEWER"


class DatabaseOlder(AppError):
    """The database does not have the schema of this release yet; run `eco2 migrate`."""

    code = "DATABASE_OLDER"


def upgrade(database_url: str, revision: str = "head") -> None:
    """DatabaseNewer: nothing was changed. psycopg.OperationalError: the database does not answer, or not to the end."""
    found = config(database_url)
    try:
        _require_known(found, database_url)
        command.upgrade(found, revision)
    except OperationalError as error:
        raise (error.orig or error) from None  # as all other code of the database has it


def wait(database_url: str, seconds: float) -> None:
    """Return when the database has the schema of this release, or of a newer one. DatabaseOlder after `seconds`."""
    found = config(database_url)
    head = ScriptDirectory.from_config(found).get_current_head()
    older, end = _known(found), time.monotonic() + seconds
    while (applied := _applied_or_none(database_url)) != head and (applied is None or applied in older):
        if time.monotonic() >= end:
            raise DatabaseOlder(
                f"The database is away or has no schema, or that of revision {applied or 'none'}; this release needs "
                f"{head}: run `eco2 migrate`."
            )
        time.sleep(min(POLL_SECONDS, seconds))


def _known(found: Config) -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(found).walk_revisions()}


def _applied(database_url: str) -> str | None:
    limits = {"connect_timeout": CONNECT_SECONDS}
    engine = create_engine(psycopg_url(database_url), poolclass=NullPool, connect_args=limits)
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _applied_or_none(database_url: str) -> str | None:
    """None also while the server is away: whoever waits for the schema waits for the server as well."""
    try:
        return _applied(database_url)
    except OperationalError as error:
        log.warning("the database does not answer: %s", str(error.orig).partition("\n")[0])
        return None


def _require_known(found: Config, database_url: str) -> None:
    applied = _applied(database_url)
    if applied and applied not in _known(found):
        head = ScriptDirectory.from_config(found).get_current_head()
        raise DatabaseNewer(
            f"The database is newer (revision {applied}) than this release ({head}): "
            "run the release that it belongs to, or restore a backup of before (docs/runbooks/restore.md)."
        )


def downgrade(database_url: str, revision: str) -> None:
    command.downgrade(config(database_url), revision)
