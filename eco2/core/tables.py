"""Tables as Alembic knows them: one metadata, of which each domain's `tables.py` describes a schema of its own.

`migrations/` is the one history. No service imports this: statements are SQL (`eco2.core.postgres`).
"""

from sqlalchemy import MetaData
from sqlalchemy.engine import URL, make_url

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def psycopg_url(url: str) -> URL:
    """`postgresql://…` with the driver that we use."""
    return make_url(url).set(drivername="postgresql+psycopg")
