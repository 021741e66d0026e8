"""Docstrings, and the strings below constants and fields, say what something does or is, and do not ask."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import eco2

ROOT = Path(eco2.__file__).parents[1]
FOLDERS = ("ansible", "eco2", "migrations", "scripts", "tests", "tools")
QUESTIONS = ("What", "Who", "Whom", "Whose", "Whether", "Where", "How", "That", "Which", "Why")


def descriptions(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
            yield from _below_names(node.body)


def _below_names(body: list[ast.stmt]) -> Iterator[str]:
    for statement, below in pairwise(body):
        match statement, below:
            case ast.Assign() | ast.AnnAssign(), ast.Expr(ast.Constant(str(text))):
                yield text


def test_no_description_begins_as_a_question() -> None:
    ours = (file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
    written = (file for file in ours if file.parent.name != "pb")  # those are generated
    files = {file: ast.parse(file.read_text(encoding="utf-8")) for file in written}
    found = [
        f"{file.relative_to(ROOT)}: {text.strip().splitlines()[0]}"
        for file, tree in files.items()
        for text in descriptions(tree)
        if text.strip() and text.split()[0] in QUESTIONS
    ]
    assert found == [], "write the imperative (Load …), or what it is (Number of …, True when …)"
