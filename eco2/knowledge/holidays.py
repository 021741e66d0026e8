"""Public holidays of Korea (data/holidays.yaml), by day."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from eco2.knowledge.loading import default_directory


class _Days(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    computed: dict[date, str]
    decreed: dict[date, str]


def load(data_dir: Path | None = None) -> Mapping[date, tuple[str, ...]]:
    """Names of the holidays of a day; a day may be two. Those that are decreed add to those of every year."""
    content = ((data_dir or default_directory()) / "holidays.yaml").read_bytes()
    book = _Days.model_validate(yaml.load(content, Loader=yaml.CSafeLoader))
    found: dict[date, tuple[str, ...]] = {}
    for day, names in (*book.computed.items(), *book.decreed.items()):
        found[day] = (*found.get(day, ()), *names.split("; "))
    return found
