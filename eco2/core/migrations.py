"""Runs the one Alembic history (`migrations/`)."""

import logging
import time
from pathlib import Path
from typing import Any

from alembic import command, op
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import LockNotAvailable
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import OperationalError

from eco2.core.errors import AppError
from eco2.core.tables import psycopg_url

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parents[2] / "migrations"
POLL_SECONDS = 1.0
CONNECT_SECONDS = 10
LOCK_TIMEOUT = "3s"
"""Longest wait of a step for a lock: whoever comes to the table meanwhile waits behind it."""
LOCK_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0, 30.0, 30.0)
"""Seconds before a step that got no lock is tried again."""


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
    """Apply each step in a transaction of its own; one that gets no lock in LOCK_TIMEOUT is tried again.

    DatabaseNewer: nothing was changed. psycopg.OperationalError: the database does not answer, or not to the end; the
    steps before stay, and the next run goes on behind them."""
    found = config(database_url)
    for pause in (*LOCK_PAUSES, None):
        try:
            _require_known(found, database_url)
            command.upgrade(found, revision)
        except OperationalError as error:
            if pause is None or not isinstance(error.orig, LockNotAvailable):
                raise (error.orig or error) from None  # as all other code of the database has it
            log.warning("a step got no lock, and is tried again in %g s: %s", pause, str(error.orig).partition("\n")[0])
            time.sleep(pause)
        else:
            return


def index_online(name: str, table: str, columns: list[Any], *, schema: str, **options: Any) -> None:
    """Build an index while its table is read and written; for steps of the history.

    It ends the transaction of the step, so it stands alone in one. One that was interrupted leaves an index that is
    not valid: the step, done again, begins with its removal."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")  # it waits for transactions that hold nobody up
        op.drop_index(name, table, schema=schema, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, schema=schema, postgresql_concurrently=True, **options)
        op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")


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
