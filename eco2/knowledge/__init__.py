"""Knowledge of Eco² about waste: items, streams, rules, situations, characters. Imports nothing of ours."""

from eco2.knowledge.answer import (
    Lang,
    Named,
    Outcome,
    classified,
    decide,
    unrewarded,
)
from eco2.knowledge.asking import ask
from eco2.knowledge.catalogue import categories, disposal_rules
from eco2.knowledge.composing import compose_answer, compose_unknown
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.loading import KnowledgeError, default_directory, load
from eco2.knowledge.matching import search
from eco2.knowledge.models import (
    Ambiguity,
    Character,
    Classification,
    Item,
    Region,
    Rule,
    Situation,
    Stream,
)
from eco2.knowledge.reading import read, subjects

__all__ = [
    "Ambiguity",
    "Character",
    "Classification",
    "Item",
    "Knowledge",
    "KnowledgeError",
    "Lang",
    "Named",
    "Outcome",
    "Region",
    "Rule",
    "Situation",
    "Stream",
    "ask",
    "categories",
    "classified",
    "compose_answer",
    "compose_unknown",
    "decide",
    "default_directory",
    "disposal_rules",
    "load",
    "read",
    "search",
    "subjects",
    "unrewarded",
]
