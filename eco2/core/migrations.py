"""Runs the one Alembic history (`migrations/`)."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine

from eco2.core.errors import AppError
from eco2.core.tables import psycopg_url

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def config(database_url: str) -> Config:
    """Alembic configuration for `postgresql://…`."""
    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS))
    found.attributes["database_url"] = database_url
    return found


class DatabaseNewer(AppError):
    """The database has migrations that this release does not know."""

    code = "DATABASE_NEWER"


def upgrade(database_url: str, revision: str = "head") -> None:
    """DatabaseNewer: nothing was changed."""
    found = config(database_url)
    _require_known(found, database_url)
    command.upgrade(found, revision)


def _require_known(found: Config, database_url: str) -> None:
    history = ScriptDirectory.from_config(found)
    engine = create_engine(psycopg_url(database_url), poolclass=NullPool)
    with engine.connect() as connection:
        applied = MigrationContext.configure(connection).get_current_revision()
    if applied and applied not in {script.revision for script in history.walk_revisions()}:
        raise DatabaseNewer(
            f"The database is newer (revision {applied}) than this release ({history.get_current_head()}): "
            "run the release that it belongs to, or restore a backup of before (docs/runbooks/restore.md)."
        )


def downgrade(database_url: str, revision: str) -> None:
    command.downgrade(config(database_url), revision)
