"""Lists that a steward loads: fees of bulky waste by district, prices of recyclables. CSV files with a header.

A row has its source and date, which the answer shows; `sample` marks a made-up one. A file that
cannot be read completely stops the worker at its start, as gaps in a list would go unnoticed.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

from eco2.knowledge import Item, Knowledge

MOST_ROWS = 50_000
HIGHEST_WON = 1_000_000


@dataclass(frozen=True)
class Origin:
    """`sample`: made up for trying the platform."""

    source: str
    date: date
    sample: bool


@dataclass(frozen=True)
class Fee:
    """Price of the sticker for one `name` of that `size` in a district."""

    district: str
    item: str
    name: str
    size: str
    won: int
    origin: Origin


@dataclass(frozen=True)
class Price:
    """Won for a kilogram of a material, which things of these streams are made of; `words` that name it."""

    name: str
    name_en: str
    words: tuple[str, ...]
    streams: tuple[str, ...]
    won: int
    origin: Origin


@dataclass(frozen=True)
class Lists:
    fees: Sequence[Fee] = field(default_factory=tuple)
    prices: Sequence[Price] = field(default_factory=tuple)

    def fees_of(self, district: str, item: Item) -> list[Fee]:
        """Of the thing in the district, smallest first."""
        found = [fee for fee in self.fees if fee.item == item.id and district.endswith(fee.district)]
        return sorted(found, key=lambda fee: fee.won)

    def has_district(self, district: str) -> bool:
        return any(district.endswith(fee.district) for fee in self.fees)

    def prices_of(self, text: str, streams: Sequence[str]) -> list[Price]:
        """Those that the words name, else those of the streams."""
        said = text.replace(" ", "").lower()
        named = [price for price in self.prices if any(word in said for word in price.words)]
        return named or [price for price in self.prices if set(price.streams) & set(streams)]


Row = Mapping[str, str]
Kind = TypeVar("Kind", Fee, Price)


def load(knowledge: Knowledge, fees: Path | None, prices: Path | None) -> Lists:
    """ValueError names the file, the line and what is wrong with it."""
    return Lists(
        fees=_read(fees, lambda row: _fee(knowledge, row)),
        prices=_read(prices, lambda row: _price(knowledge, row)),
    )


def _read(file: Path | None, made: Callable[[Row], Kind]) -> tuple[Kind, ...]:
    if file is None:
        return ()
    found: list[Kind] = []
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = csv.DictReader(opened, strict=True)
        for row in rows:
            if len(found) == MOST_ROWS:
                raise ValueError(f"{file}: more than {MOST_ROWS} rows")
            try:
                found.append(made({name: (value or "").strip() for name, value in row.items() if name}))
            except (KeyError, ValueError) as error:
                raise ValueError(f"{file}, line {rows.line_num}: {error}") from None
    return tuple(found)


def _fee(knowledge: Knowledge, row: Row) -> Fee:
    if row["item"] not in knowledge.items:
        raise ValueError(f"no item {row['item']!r} in the knowledge base")
    return Fee(_filled(row, "district"), row["item"], _filled(row, "name"), row["size"], _won(row), _origin(row))


def _price(knowledge: Knowledge, row: Row) -> Price:
    streams = tuple(row["streams"].split())
    for stream in streams:
        if stream not in knowledge.streams:
            raise ValueError(f"no stream {stream!r} in the knowledge base")
    words = tuple(word.lower() for word in row["words"].split())
    return Price(_filled(row, "name"), _filled(row, "name_en"), words, streams, _won(row), _origin(row))


def _filled(row: Row, name: str) -> str:
    if not row[name]:
        raise ValueError(f"{name} is empty")
    return row[name]


def _won(row: Row) -> int:
    won = int(row["won"])
    if not 0 <= won <= HIGHEST_WON:
        raise ValueError(f"won is {won}, not from 0 to {HIGHEST_WON}")
    return won


def _origin(row: Row) -> Origin:
    if row["sample"] not in ("", "yes"):
        raise ValueError(f"sample is {row['sample']!r}, not yes or empty")
    return Origin(_filled(row, "source"), date.fromisoformat(row["date"]), row["sample"] == "yes")


NO_LISTS = Lists()
