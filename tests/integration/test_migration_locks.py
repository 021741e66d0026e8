"""Steps of the history on a database that is in use: each its own transaction, no long wait for a lock, no lock for an
index."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

from eco2.core import migrations, schema
from tests.integration.test_migrations import empty_database  # noqa: F401

STEP = """
from alembic import op
from eco2.core.migrations import index_online
revision = "{number}"
down_revision = {before!r}
branch_labels = depends_on = None


def upgrade():
    {up}
"""
CREATE = 'op.execute("CREATE TABLE public.things AS SELECT n FROM generate_series(1, 100) AS n")'
ALTER = 'op.execute("ALTER TABLE public.things ADD COLUMN more text")'
INDEX = 'index_online("ix_things_n", "things", ["n"], schema="public")'
FAIL = 'op.execute("SELECT 1 / 0")'

History = Callable[..., None]


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """Writes a history of the given bodies in place of the product's."""
    (tmp_path / "versions").mkdir()
    for name in ("env.py", "script.py.mako"):
        (tmp_path / name).write_text((schema.MIGRATIONS / name).read_text())
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path)

    def write(*bodies: str) -> None:
        for number, body in enumerate(bodies, start=1):
            before = f"{number - 1:04}" if number > 1 else None
            (tmp_path / "versions" / f"{number:04}.py").write_text(
                STEP.format(number=f"{number:04}", before=before, up=body)
            )

    return write


@pytest.fixture
def url(empty_database: URL) -> str:  # noqa: F811
    return empty_database.render_as_string(hide_password=False).replace("postgresql+psycopg", "postgresql")


@pytest.fixture
def session(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def applied(session: psycopg.Connection) -> str:
    row = session.execute("SELECT version_num FROM alembic_version").fetchone()
    assert row is not None
    return str(row[0])


def test_steps_before_one_that_fails_stay(history: History, url: str, session: psycopg.Connection) -> None:
    history(CREATE, FAIL)
    with pytest.raises(Exception, match="division by zero"):
        migrations.upgrade(url)
    assert applied(session) == "0001"
    history(CREATE, ALTER)
    migrations.upgrade(url)
    assert applied(session) == "0002"


def test_a_step_lets_others_pass_and_is_done_once_the_table_is_free(
    history: History, url: str, session: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(CREATE)
    migrations.upgrade(url)
    history(CREATE, ALTER)
    refused, free = threading.Event(), threading.Event()

    def pause(_seconds: float) -> None:
        refused.set()
        assert free.wait(30)

    monkeypatch.setattr("eco2.core.migrations.time.sleep", pause)
    with ThreadPoolExecutor() as threads:
        with session.transaction():
            session.execute("SELECT count(*) FROM public.things")  # a reader that takes its time
            step = threads.submit(migrations.upgrade, url)
            assert refused.wait(30), "it gave up the lock for a while"
            with psycopg.connect(url, options="-c lock_timeout=100") as other:
                other.execute("SELECT count(*) FROM public.things")  # nothing stands in its way
        free.set()
        step.result(30)
    assert applied(session) == "0002"


def test_a_table_that_is_never_free_ends_the_run(
    history: History, url: str, session: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_PAUSES", ())
    history(CREATE)
    migrations.upgrade(url)
    history(CREATE, ALTER)
    with session.transaction():
        session.execute("SELECT count(*) FROM public.things")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migrations.upgrade(url)
    assert applied(session) == "0001"


def test_an_index_is_built_beside_writers_and_again_after_an_interruption(
    history: History, url: str, session: psycopg.Connection
) -> None:
    history(CREATE, INDEX)
    migrations.upgrade(url, "0001")
    session.execute("INSERT INTO public.things VALUES (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        session.execute("CREATE UNIQUE INDEX CONCURRENTLY ix_things_n ON public.things (n)")  # leaves an invalid one
    with ThreadPoolExecutor() as threads, psycopg.connect(url) as writer:
        writer.execute("INSERT INTO public.things VALUES (101)")  # a transaction that is open
        step = threads.submit(migrations.upgrade, url)
        with psycopg.connect(url, options="-c lock_timeout=3000") as other:
            other.execute("INSERT INTO public.things VALUES (102)")  # is never locked out
        writer.commit()
        step.result(30)
    row = session.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'public.ix_things_n'::regclass"
    ).fetchone()
    assert row == (True,)
    assert applied(session) == "0002"
