"""The one history makes exactly the tables that the code declares, and can be taken back."""

import uuid
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, create_engine, make_url, text

from eco2.auth import tables as _auth  # noqa: F401
from eco2.character import tables as _character  # noqa: F401
from eco2.core import migrations
from eco2.core.tables import metadata, psycopg_url
from eco2.image import tables as _image  # noqa: F401
from eco2.jobs import tables as _jobs  # noqa: F401
from eco2.local.stack import Stack
from eco2.my import tables as _my  # noqa: F401
from eco2.scan import tables as _scan  # noqa: F401

SCHEMAS = {"scan", "image", "character", "users", "auth", "jobs"}


@pytest.fixture
def empty_database(stack: Stack, environment: dict[str, str]) -> Iterator[URL]:
    url = make_url(environment["ECO2_DATABASE_URL"])
    admin = create_engine(
        psycopg_url(environment["ECO2_DATABASE_URL"]).set(
            username="postgres", password=stack.layout.credentials.postgres_admin_password
        ),
        isolation_level="AUTOCOMMIT",
    )
    name = f"scratch_{uuid.uuid4().hex[:8]}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} OWNER {url.username}"))
        yield url.set(database=name)
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def test_history_and_tables_agree(empty_database: URL) -> None:
    url = empty_database.render_as_string(hide_password=False)
    migrations.upgrade(url)
    migrations.upgrade(url)
    engine = create_engine(psycopg_url(url))
    with engine.connect() as connection:
        options = {
            "include_schemas": True,
            "compare_type": True,
            "include_name": lambda name, kind, _parents: kind != "schema" or name in SCHEMAS,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_history_can_be_taken_back(empty_database: URL) -> None:
    url = empty_database.render_as_string(hide_password=False)
    migrations.upgrade(url)
    migrations.downgrade(url, "base")
    engine = create_engine(psycopg_url(url))
    with engine.connect() as connection:
        names = connection.execute(text("SELECT nspname FROM pg_namespace")).scalars().all()
    engine.dispose()
    assert not SCHEMAS.intersection(names)
