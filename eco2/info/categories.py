"""Categories of news, by words of data/news.yaml and by the search term."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from eco2.knowledge import default_directory

IN_TITLE = 2
ENOUGH = 3


class _Words(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: int
    ko: tuple[str, ...]
    en: tuple[str, ...]


class Category(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    queries: tuple[str, ...]
    words: tuple[_Words, ...]


class _Book(BaseModel):
    categories: tuple[Category, ...]


@dataclass(frozen=True)
class Categories:
    all: tuple[Category, ...]
    _patterns: tuple[tuple[str, tuple[tuple[int, re.Pattern[str]], ...]], ...]

    @classmethod
    def load(cls, data_dir: Path | None) -> "Categories":
        content = ((data_dir or default_directory()) / "news.yaml").read_bytes()
        book = _Book.model_validate(yaml.load(content, Loader=yaml.CSafeLoader))
        patterns = ((one.id, tuple((words.weight, _pattern(words)) for words in one.words)) for one in book.categories)
        return cls(book.categories, tuple(patterns))

    def of(self, title: str, snippet: str, hint: str | None = None) -> str | None:
        """The category that most words speak for; else the hint of the search; None: none of ours."""
        scores = {name: self._score(patterns, title, snippet) for name, patterns in self._patterns}
        best = max(scores, key=lambda name: (scores[name], name == hint))
        return best if scores[best] >= ENOUGH else hint

    def _score(self, patterns: Iterable[tuple[int, re.Pattern[str]]], title: str, snippet: str) -> int:
        return sum(
            weight * (IN_TITLE * _count(pattern, title) + _count(pattern, snippet)) for weight, pattern in patterns
        )


def _count(pattern: re.Pattern[str], text: str) -> int:
    """Different words that occur."""
    return len({found.lower() for found in pattern.findall(text)})


def _pattern(words: _Words) -> re.Pattern[str]:
    """Words in Latin letters stand alone (AI is no part of "said"); of overlapping ones the longest counts."""
    every = sorted((*words.ko, *words.en), key=len, reverse=True)
    return re.compile("|".join(map(_bounded, every)), re.IGNORECASE)


def _bounded(word: str) -> str:
    stem = re.escape(word)
    if not word.isascii():
        return stem
    return rf"(?<![A-Za-z0-9]){stem}" + (r"s?(?![A-Za-z0-9])" if len(word) < 7 else "")
