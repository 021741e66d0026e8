"""Alembic environment: one history over every domain's schema."""

import time

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, text

from eco2.auth import tables as _auth  # noqa: F401
from eco2.character import tables as _character  # noqa: F401
from eco2.chat import tables as _chat  # noqa: F401
from eco2.core.migrations import LOCK_TIMEOUT
from eco2.core.tables import metadata, psycopg_url
from eco2.image import tables as _image  # noqa: F401
from eco2.info import tables as _info  # noqa: F401
from eco2.jobs import tables as _jobs  # noqa: F401
from eco2.llm import tables as _llm  # noqa: F401
from eco2.location import tables as _location  # noqa: F401
from eco2.my import tables as _my  # noqa: F401
from eco2.recycling import tables as _recycling  # noqa: F401
from eco2.scan import tables as _scan  # noqa: F401

SCHEMAS = sorted({table.schema for table in metadata.tables.values() if table.schema})
LOCK = 0x65636F32  # two migrations at once would race for the same revision
LOCK_POLL_SECONDS = 0.2


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """Compare our schemas only; PostGIS keeps tables of its own elsewhere."""
    return kind != "schema" or name in SCHEMAS


def wait_for_turn(connection: Connection) -> None:
    """Ask until no other run migrates: one that waited in a statement would hold up an index that the other builds."""
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
        connection.commit()
        time.sleep(LOCK_POLL_SECONDS)


def migrate() -> None:
    engine = create_engine(psycopg_url(context.config.attributes["database_url"]), poolclass=NullPool)
    with engine.connect() as connection:
        wait_for_turn(connection)
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.commit()
        context.configure(
            connection,
            target_metadata=metadata,
            include_schemas=True,
            include_name=ours,
            compare_type=True,
            transaction_per_migration=True,  # else the first lock is held until the last step is done
        )
        with context.begin_transaction():
            context.run_migrations()


migrate()
