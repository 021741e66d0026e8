"""The chain of migrations, read from their files."""

import re
from itertools import pairwise

from alembic.config import Config
from alembic.script import ScriptDirectory

from eco2.local.config import CHECKOUT

FIRST_WITHOUT_GAPS = 20
"""Before it, each domain had a range of numbers."""


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(CHECKOUT / "migrations"))
    return ScriptDirectory.from_config(config)


def test_the_chain_has_one_beginning_and_one_end() -> None:
    found = scripts()
    assert len(found.get_heads()) == 1
    assert len(found.get_bases()) == 1
    assert not any(isinstance(row.down_revision, tuple) for row in found.walk_revisions()), "no two lines are merged"


def test_numbers_follow_the_chain_without_a_gap() -> None:
    rows = [*scripts().walk_revisions()][::-1]
    files = [row.path.rpartition("/")[2] for row in rows]
    numbers = [int(re.match(r"(\d{4})_", name)[1]) for name in files]  # type: ignore[index]
    assert numbers == sorted(set(numbers)), "each number once, in the order of the chain"
    assert [row.revision for row in rows] == [f"{number:04}" for number in numbers], "a revision is its number"
    gaps = [(one, two) for one, two in pairwise(numbers) if one >= FIRST_WITHOUT_GAPS and two != one + 1]
    assert gaps == []
