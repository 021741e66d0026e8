"""Reading data/, which is refused with a list of all problems if it is inconsistent."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from eco2.knowledge.consistency import CHARACTERS, RULES, SITUATIONS, TAXONOMY, Books, problems_of
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import (
    Cast,
    Classification,
    DropOffBook,
    EmergencyBook,
    Item,
    Model,
    Region,
    Rulebook,
    SituationBook,
    SourceBook,
    Taxonomy,
    TopicBook,
)
from eco2.knowledge.words.index import Index
from eco2.knowledge.words.lexicon import Lexicon
from eco2.knowledge.words.text import stems
from eco2.knowledge.words.vocabulary import class_words, compounds_of, terms_of, words_of

FILES = (TAXONOMY, RULES, SITUATIONS, CHARACTERS)
SOURCES, DROP_OFFS, REGIONS, WORDS = "sources.yaml", "drop_offs.yaml", "regions", "words"
EMERGENCIES, TOPICS = "emergencies.yaml", "topics.yaml"
NAMING = ("id", "stream", "code", "name", "term")
"""The keys by which an entry of a list is called in a message, the first that it has."""
NEWLINE = b"\n"
Book = TypeVar("Book", bound=BaseModel)


class KnowledgeError(Exception):
    """The data files are missing or wrong; `problems` holds one "file: key: what" per finding."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(["The knowledge base is not valid:", *self.problems]))


_loaded: dict[str, Knowledge] = {}
"""The last one by its version, which is a digest of its files: a process has one, and its children may have it, too."""


def load(directory: Path | None = None) -> Knowledge:
    """The checked knowledge base. Raises KnowledgeError listing all problems."""
    source = directory or default_directory()
    problems: list[str] = []
    with suppress(OSError):  # told below, file by file
        if known := _loaded.get(_digest(source)):
            return known
    documents = {name: _read(source / name, name, problems) for name in names(source)}
    if problems:
        raise KnowledgeError(problems)
    built = build(documents, _digest(source))
    _loaded.clear()
    _loaded[built.version] = built
    return built


def build(documents: Mapping[str, object], version: str) -> Knowledge:
    """The knowledge base from the parsed files, by file name. Raises KnowledgeError listing all problems."""
    problems: list[str] = []
    books = _books(documents, problems)
    if books:
        problems.extend(problems_of(books))
        if not problems:
            return _assemble(books, version)
    raise KnowledgeError(problems)


def _books(documents: Mapping[str, object], problems: list[str]) -> "Books | None":
    """Without sources, drop-offs, emergencies or topics a knowledge base is poorer, and still one."""
    given = {SOURCES: {"sources": []}, DROP_OFFS: {"drop_offs": []}, EMERGENCIES: {}, TOPICS: {}, **documents}
    taxonomy = _validate(given, TAXONOMY, Taxonomy, problems)
    rulebook = _validate(given, RULES, Rulebook, problems)
    situations = _validate(given, SITUATIONS, SituationBook, problems)
    cast = _validate(given, CHARACTERS, Cast, problems)
    sources = _validate(given, SOURCES, SourceBook, problems)
    drop_offs = _validate(given, DROP_OFFS, DropOffBook, problems)
    emergencies = _validate(given, EMERGENCIES, EmergencyBook, problems)
    topics = _validate(given, TOPICS, TopicBook, problems)
    regions = [_validate(given, name, Region, problems) for name in given if name.startswith(f"{REGIONS}/")]
    lexicon = _lexicon(given, problems)
    if not (taxonomy and rulebook and situations and cast and sources and drop_offs and emergencies and topics):
        return None
    known = tuple(filter(None, regions))
    if len(known) < len(regions) or lexicon is None:
        return None
    return Books(taxonomy, rulebook, situations, cast, sources, drop_offs, known, lexicon, emergencies, topics)


def _lexicon(documents: Mapping[str, object], problems: list[str]) -> Lexicon | None:
    """The vocabulary: one file each for a field of `Lexicon`, empty where it is not there."""
    parts: dict[str, Model | None] = {}
    for name, field in Lexicon.model_fields.items():
        file = f"{WORDS}/{name}.yaml"
        if file in documents and isinstance(field.annotation, type) and issubclass(field.annotation, Model):
            parts[name] = _validate(documents, file, field.annotation, problems)
    return Lexicon.model_validate(parts) if all(parts.values()) else None


def default_directory() -> Path:
    """data/ of the checkout; in an image it is copied into the working directory."""
    candidates = [Path(__file__).resolve().parents[2] / "data", Path.cwd() / "data"]
    for candidate in candidates:
        if (candidate / TAXONOMY).is_file():
            return candidate
    raise KnowledgeError([f"{TAXONOMY}: file: not found in {' or '.join(map(str, candidates))}"])


def names(source: Path) -> list[str]:
    optional = [name for name in (SOURCES, DROP_OFFS, EMERGENCIES, TOPICS) if (source / name).is_file()]
    regions = sorted(f"{REGIONS}/{path.name}" for path in (source / REGIONS).glob("*.yaml"))
    words = sorted(f"{WORDS}/{path.name}" for path in (source / WORDS).glob("*.yaml"))
    return [*FILES, *optional, *regions, *words]


def _read(path: Path, name: str, problems: list[str]) -> object:
    try:
        content = path.read_bytes()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        problems.append(f"{name}: file: {'missing' if missing else error.strerror} in {path.parent}")
        return None
    try:
        document: object = yaml.load(content, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        problems.append(f"{name}{_place(error, content)}: not valid YAML: {_reason(error)}")
        return None
    if not isinstance(document, dict):
        problems.append(f"{name}: file: {'is empty' if document is None else 'has no keys at its top'}")
    return document


def _place(error: yaml.YAMLError, content: bytes) -> str:
    """`:line:column` where it is known."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f":{error.problem_mark.line + 1}:{error.problem_mark.column + 1}"
    if isinstance(error, yaml.reader.ReaderError):
        before = content[: error.position]
        return f":{before.count(NEWLINE) + 1}:{len(before) - before.rfind(NEWLINE)}"
    return ""


def _reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        return ", ".join(part for part in (error.context, error.problem) if part)
    return str(error.reason if isinstance(error, yaml.reader.ReaderError) else error)


def _validate(documents: Mapping[str, object], name: str, model: type[Book], problems: list[str]) -> Book | None:
    document = documents.get(name)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        for finding in error.errors():
            key = ".".join(_path(document, finding["loc"])) or "file"
            problems.append(f"{name}: {key}: {finding['msg']}")
    return None


def _path(document: object, location: Iterable[int | str]) -> Iterator[str]:
    """The keys down to a place; an entry of a list by its name, where it has one, instead of its number."""
    for step in location:
        document = _entry(document, step)
        yield _name(document, str(step)) if isinstance(step, int) else step


def _entry(document: object, step: int | str) -> object:
    if isinstance(document, dict):
        return document.get(step)
    if isinstance(document, list) and isinstance(step, int) and step < len(document):
        return document[step]
    return None


def _name(entry: object, number: str) -> str:
    return entry_name(entry) or number


def entry_name(entry: object) -> str:
    """Name of an entry of a list; "" where it has no name."""
    keys = entry if isinstance(entry, dict) else {}
    return next((str(keys[key]) for key in NAMING if key in keys), "")


def _digest(source: Path) -> str:
    content = b"".join((source / name).read_bytes() for name in names(source))
    return hashlib.sha256(content).hexdigest()[:12]


def _assemble(books: Books, version: str) -> Knowledge:
    taxonomy = books.taxonomy
    items = {item.id: item for item in _place_items(taxonomy)}
    terms = terms_of(taxonomy, books.lexicon.names)
    keywords = [word for s in books.situations.situations for word in (*s.keywords, *s.keywords_en)]
    return Knowledge(
        version=version,
        taxonomy=taxonomy,
        rulebook=books.rulebook,
        situation_book=books.situations,
        items=items,
        streams={stream.id: stream for stream in taxonomy.streams},
        rules={rule.stream: rule for rule in books.rulebook.rules},
        situations={situation.id: situation for situation in books.situations.situations},
        characters=books.cast.characters,
        sources={source.id: source for source in books.sources.sources},
        drop_offs=books.drop_offs.drop_offs,
        regions={region.id: region for region in books.regions},
        emergencies=books.emergencies,
        topics=books.topics,
        terms=terms | dict(compounds_of(books.lexicon.heads)),
        phrases={word: stems(word) for word in keywords},
        classes=frozenset(class_words(taxonomy, books.lexicon)),
        questions={word: entry for entry in taxonomy.ambiguous for word in words_of(entry)},
        index=Index.of(terms, items.values()),
        lexicon=books.lexicon,
    )


def _place_items(taxonomy: Taxonomy) -> Iterator[Item]:
    """The one place where an item gets its classes: those of its stream, unless it has its own."""
    labels = {stream.id: stream.class_label for stream in taxonomy.streams}
    for group in taxonomy.groups:
        for record in group.items:
            label = record.class_label or labels[record.stream]
            assert label is not None  # _check_classes
            classes = Classification(major_category=label.major, middle_category=label.middle, minor_category=record.ko)
            yield Item(**record.model_dump(by_alias=True), group=group.id, classification=classes)
