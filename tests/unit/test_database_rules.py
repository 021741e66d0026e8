"""One way to the database (docs/adr/0002): SQL in `store.py` modules, on the pool of `eco2.core.postgres`."""

import re
from importlib import import_module
from pathlib import Path

from sqlalchemy import MetaData

from eco2.core import tables

PACKAGE = Path(__file__).parents[2] / "eco2"
DESCRIBES_TABLES = re.compile(r"(\w+/tables|core/migrations)\.py")
TAKES_URLS_APART = "jobs/backup.py"


def test_sqlalchemy_describes_tables_and_runs_nothing() -> None:
    sources = {source.relative_to(PACKAGE).as_posix(): source.read_text() for source in PACKAGE.rglob("*.py")}
    using = {name for name, text in sources.items() if "sqlalchemy" in text}
    assert {name for name in using if not DESCRIBES_TABLES.fullmatch(name)} == {TAKES_URLS_APART}
    importing = [name for name, text in sources.items() if re.search(r"import \w*tables\b|\.tables import", text)]
    assert [name for name in importing if not DESCRIBES_TABLES.fullmatch(name)] == []


def test_a_domain_has_its_statements_in_its_stores() -> None:
    statement = re.compile(r"\b(SELECT .+ FROM|INSERT INTO|UPDATE \w+\.\w+ SET|DELETE FROM) ", re.DOTALL)
    homes = re.compile(r"(\w*store|tables)\.py")
    domains = ("auth", "character", "image", "info", "my", "recycling", "scan")
    found = [
        source.relative_to(PACKAGE).as_posix()
        for domain in domains
        for source in (PACKAGE / domain).rglob("*.py")
        if statement.search(source.read_text()) and not homes.fullmatch(source.name)
    ]
    assert found == []


def test_statements_name_tables_that_are_described() -> None:
    described = {table.fullname for table in metadata().tables.values()} | {"scan.facts", "scan.verdicts"}
    named = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN|TABLE)\s+([a-z_]+\.[a-z_]+)\b")
    schemas = {name.partition(".")[0] for name in described}
    for source in (*PACKAGE.glob("*/*store.py"), *PACKAGE.glob("*/importing/*.py")):
        found = {name for name in named.findall(source.read_text()) if name.partition(".")[0] in schemas}
        assert found - described == set(), source


def metadata() -> MetaData:
    for source in PACKAGE.glob("*/tables.py"):
        import_module(f"eco2.{source.parent.name}.tables")
    return tables.metadata
