"""PostgreSQL with PostGIS."""

import shutil
import signal
from functools import partial
from pathlib import Path
from subprocess import PIPE, STDOUT, run

from eco2.local import config, probes
from eco2.local.config import Layout, LocalError
from eco2.local.servers.common import PLAIN, as_user, missing, own_file, own_folder
from eco2.local.supervisor import Unit

DATABASE_MISSING = (
    "The database was missing and was made anew: it is empty. "
    "docs/runbooks/restore.md says how to put a backup in its place."
)


def postgres_bin(data: Path | None = None) -> Path:
    """The folder of the newest installed release, or of the release that made `data`."""
    made_by = data / "PG_VERSION" if data else None
    release = made_by.read_text().strip() if made_by and made_by.exists() else "*"
    found = sorted(Path("/usr/lib/postgresql").glob(f"{release}/bin/postgres"), key=lambda p: int(p.parts[4]))
    if not found:
        raise missing("PostgreSQL")
    return found[-1].parent


def _prepare(at: Layout, user: str | None) -> None:
    folder = own_folder(at.folder("postgres"), user)
    data = folder / "data"
    if (data / "PG_VERSION").exists():
        return
    password = folder / "password"
    own_file(password, at.credentials.postgres_admin_password, user)
    command = [f"{postgres_bin()}/initdb", f"--pgdata={data}", "--username=postgres", f"--pwfile={password}"]
    options = ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions"]
    made = run([*command, *options], user=user, group=user, env=PLAIN, stdout=PIPE, stderr=STDOUT, text=True, cwd="/")
    password.unlink()
    if made.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise LocalError(f"PostgreSQL could not make its data folder: {made.stdout.strip().splitlines()[-1]}")


def setup_database(at: Layout) -> str | None:
    """Role, database and extensions of our own; what exists is left alone. PostGIS needs the superuser once.

    Returns a sentence when the database of a server that is not new was missing."""
    from psycopg import connect
    from psycopg.sql import SQL, Literal

    admin = f"postgresql://postgres:{at.credentials.postgres_admin_password}@127.0.0.1:{at.port_of('postgres')}"
    with connect(f"{admin}/postgres", autocommit=True) as db:
        new = not db.execute("SELECT 1 FROM pg_roles WHERE rolname = 'eco2'").fetchone()
        if new:
            # The path belongs to the role, not to the database, so that databases cloned in tests have it too.
            password = Literal(at.credentials.postgres_password)
            db.execute(SQL("CREATE ROLE eco2 LOGIN CREATEDB PASSWORD {}").format(password))
            db.execute("ALTER ROLE eco2 SET search_path = public, postgis")
        missing = not db.execute("SELECT 1 FROM pg_database WHERE datname = 'eco2'").fetchone()
        if missing:
            db.execute("CREATE DATABASE eco2 OWNER eco2")
    # The template, too: a backup is proven in a scratch database, which no superuser makes.
    for name in (config.DATABASE, "template1"):
        with connect(f"{admin}/{name}", autocommit=True) as db:
            db.execute("CREATE SCHEMA IF NOT EXISTS postgis")
            db.execute("GRANT USAGE ON SCHEMA postgis TO PUBLIC")
            db.execute("CREATE EXTENSION IF NOT EXISTS postgis SCHEMA postgis")
            db.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA postgis")
    return DATABASE_MISSING if missing and not new else None


def unit(at: Layout) -> Unit:
    user = as_user("postgres")
    data = at.folder("postgres", "data")
    admin = at.credentials.postgres_admin_password
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(at.port_of("postgres")),
        "unix_socket_directories": "",
        "shared_buffers": "64MB",
        "jit": "off",  # the library would be loaded into every connection that meets an expensive statement
        "max_connections": "200",
        "fsync": "on",
        # Values are personal: those of parameters, and the rows that a DETAIL line would quote, stay out of the log.
        "log_error_verbosity": "terse",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    return Unit(
        "postgres",
        "server",
        at.port_of("postgres"),
        (str(postgres_bin(data) / "postgres"), "-D", str(data), *settings),
        probes.postgres(f"postgresql://postgres:{admin}@127.0.0.1:{at.port_of('postgres')}/postgres"),
        environment=PLAIN,
        user=user,
        folder=Path("/"),
        stop_signal=signal.SIGINT,  # "fast": ends sessions instead of waiting for them
        prepare=partial(_prepare, at, user),
    )
