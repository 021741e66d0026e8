"""The one history makes exactly the tables that the code declares, and can be taken back."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, create_engine, make_url, text

from eco2.auth import tables as _auth  # noqa: F401
from eco2.character import tables as _character  # noqa: F401
from eco2.chat import tables as _chat  # noqa: F401
from eco2.core import migrations, schema
from eco2.core.tables import metadata, psycopg_url
from eco2.image import tables as _image  # noqa: F401
from eco2.info import tables as _info  # noqa: F401
from eco2.jobs import tables as _jobs  # noqa: F401
from eco2.llm import tables as _llm  # noqa: F401
from eco2.local.stack import Stack
from eco2.location import tables as _location  # noqa: F401
from eco2.my import tables as _my  # noqa: F401
from eco2.recycling import tables as _recycling  # noqa: F401
from eco2.scan import tables as _scan  # noqa: F401
from tests.redis_server import free_port

SCHEMAS = {"scan", "image", "character", "users", "auth", "jobs", "recycling", "location", "info", "llm", "chat"}


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


def test_a_newer_database_is_left_alone_and_said(empty_database: URL, environment: dict[str, str]) -> None:
    url = empty_database.render_as_string(hide_password=False)
    migrations.upgrade(url)
    engine = create_engine(psycopg_url(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    command = (sys.executable, "-m", "eco2", "migrate")
    found = {**os.environ, **environment, "ECO2_DATABASE_URL": url}
    done = subprocess.run(command, env=found, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("The database is newer (revision 9999) than this release")
    assert len(done.stderr.splitlines()) == 1


def test_runs_at_the_same_time_wait_for_each_other(empty_database: URL, environment: dict[str, str]) -> None:
    """The history has indexes that are built beside writers: these wait for every statement that has begun before."""
    command = (sys.executable, "-m", "eco2", "migrate")
    url = empty_database.render_as_string(hide_password=False)
    found = {**os.environ, **environment, "ECO2_DATABASE_URL": url}

    def run(_: int) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, env=found, capture_output=True, text=True, timeout=120, check=False)

    with ThreadPoolExecutor() as threads:
        done = list(threads.map(run, range(2)))
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    schema.wait(url, 0)


def test_a_database_that_is_away_is_one_sentence(environment: dict[str, str]) -> None:
    command = (sys.executable, "-m", "eco2", "migrate")
    found = {**os.environ, **environment, "ECO2_DATABASE_URL": "postgresql://eco2:s3cr3t-s3cr3t@127.0.0.1:1/eco2"}
    done = subprocess.run(command, env=found, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("The database does not answer")
    assert "Traceback" not in done.stderr


def test_a_release_waits_for_its_schema_and_for_no_older_or_newer_one(empty_database: URL) -> None:
    url = empty_database.render_as_string(hide_password=False)
    with pytest.raises(schema.DatabaseOlder, match="revision none"):
        schema.wait(url, 0)
    migrations.upgrade(url)
    migrations.downgrade(url, "-1")
    with pytest.raises(schema.DatabaseOlder, match="eco2 migrate"):
        schema.wait(url, 0)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(schema.wait, url, 60)
        migrations.upgrade(url)
        waiting.result()
    engine = create_engine(psycopg_url(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    schema.wait(url, 0)


def test_a_server_that_is_away_is_waited_for(empty_database: URL) -> None:
    nowhere = empty_database.set(port=free_port()).render_as_string(hide_password=False)
    with pytest.raises(schema.DatabaseOlder):
        schema.wait(nowhere, 0)
