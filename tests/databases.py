"""Databases of a test's own on the stack's server."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import make_url


@contextmanager
def new_database(url: str, prefix: str) -> Iterator[str]:
    """URL of an empty database beside that of `url`, gone afterwards.

    Dropped as the backup's scratch database is, since the role of the services may not send autovacuum away by force.
    """
    name = f"{prefix}_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield make_url(url).set(database=name).render_as_string(hide_password=False)
        finally:
            sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = user"
            db.execute(sessions, [name])
            db.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
