"""New steps of the history lock no table for as long as an index takes."""

import ast
import re
from collections.abc import Iterator

import pytest

from eco2.core.schema import MIGRATIONS

FIRST = 40
"""Steps before it are applied everywhere already."""
_NAME = r"(?:IF NOT EXISTS\s+)?([\w.]+)"
_TABLE = re.compile(rf"CREATE TABLE\s+{_NAME}", re.IGNORECASE)
_INDEX = re.compile(
    rf"CREATE (?:UNIQUE )?INDEX\s+(?!CONCURRENTLY)(?:{_NAME}\s+)?ON\s+(?:ONLY\s+)?([\w.]+)", re.IGNORECASE
)


def locking(code: str) -> list[str]:
    """Existing tables on which a step builds an index without `index_online`."""
    tree = ast.parse(code)
    made, indexed = set(), []
    for call, name, words in _calls(tree):
        if name == "create_table":
            made.add(f"{words.get('schema', 'public')}.{words['0']}")
        if name == "create_index" and "postgresql_concurrently" not in {word.arg for word in call.keywords}:
            indexed.append(f"{words.get('schema', 'public')}.{words['1']}")
    for text in _texts(tree):
        made.update(_TABLE.findall(text))
        indexed += [table for _, table in _INDEX.findall(text)]
    return [table for table in indexed if table not in made]


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str, dict[str, str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            words = {str(n): ast.unparse(one).strip("'\"") for n, one in enumerate(node.args)}
            words |= {word.arg: ast.unparse(word.value).strip("'\"") for word in node.keywords if word.arg}
            yield node, node.func.attr, words


def _texts(tree: ast.AST) -> Iterator[str]:
    yield from (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_new_steps_build_indexes_of_existing_tables_online() -> None:
    for path in sorted((MIGRATIONS / "versions").glob("[0-9]*.py")):
        if int(path.name[:4]) >= FIRST:
            assert locking(path.read_text()) == [], f"{path.name}: use eco2.core.migrations.index_online"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('op.create_index("ix", "jobs", ["a"], schema="scan")', ["scan.jobs"]),
        ('op.execute("CREATE UNIQUE INDEX ix ON scan.jobs (a)")', ["scan.jobs"]),
        ('op.execute("create index on scan.jobs using gin (a)")', ["scan.jobs"]),
        ('op.create_table("new", schema="scan")\nop.create_index("ix", "new", ["a"], schema="scan")', []),
        ('op.execute("CREATE TABLE scan.new (a int)")\nop.execute("CREATE INDEX ix ON scan.new (a)")', []),
        ('index_online("ix", "jobs", ["a"], schema="scan")', []),
        ('op.execute("CREATE INDEX CONCURRENTLY ix ON scan.jobs (a)")', []),
    ],
)
def test_what_is_found(code: str, found: list[str]) -> None:
    assert locking(code) == found
