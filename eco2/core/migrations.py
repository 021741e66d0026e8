"""Runs the one Alembic history (`migrations/`)."""

import logging
import time
from typing import Any

from alembic import command, op
from alembic.config import Config
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError

from eco2.core import schema as schemas

log = logging.getLogger(__name__)

LOCK_TIMEOUT = "3s"
"""Longest wait of a step for a lock: other statements on the table wait behind it."""
LOCK_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0, 30.0, 30.0)
"""Seconds before a step that got no lock is tried again."""


def config(database_url: str) -> Config:
    """Alembic configuration for `postgresql://…`."""
    found = Config()
    found.set_main_option("script_location", str(schemas.MIGRATIONS))
    found.attributes["database_url"] = database_url
    return found


def upgrade(database_url: str, revision: str = "head") -> None:
    """Apply each step in a transaction of its own; one that gets no lock in LOCK_TIMEOUT is tried again.

    DatabaseNewer: nothing was changed. psycopg.OperationalError: the database does not answer, or not to the end; the
    steps before stay, and the next run goes on behind them."""
    for pause in (*LOCK_PAUSES, None):
        try:
            schemas.require_known(database_url)
            command.upgrade(config(database_url), revision)
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


def downgrade(database_url: str, revision: str) -> None:
    command.downgrade(config(database_url), revision)
