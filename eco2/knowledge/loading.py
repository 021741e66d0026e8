"""Reading data/ and refusing it, with every problem named, when it is not consistent."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import (
    Ambiguity,
    Cast,
    Classification,
    DropOffBook,
    Item,
    ItemRecord,
    Region,
    Rule,
    Rulebook,
    SituationBook,
    SourceBook,
    Taxonomy,
)
from eco2.knowledge.retrieval import Index
from eco2.knowledge.text import normalize, says, stems

MAX_STEPS = 10  # a result has room for 단계1 … 단계10
TAXONOMY, RULES, SITUATIONS, CHARACTERS = "taxonomy.yaml", "rules.yaml", "situations.yaml", "characters.yaml"
FILES = (TAXONOMY, RULES, SITUATIONS, CHARACTERS)
SOURCES, DROP_OFFS, REGIONS = "sources.yaml", "drop_offs.yaml", "regions"
NAMING = ("id", "stream", "code", "name", "term")
"""The keys by which an entry of a list is called in a message, the first that it has."""
CLIENT_CHARACTERS = {
    "이코": None,
    "페이피": "종이",
    "팩토리": "종이팩",
    "페티": "무색페트병",
    "비니": "비닐류",
    "글래시": "유리병",
    "코튼": "의류및원단",
    "플리": "플라스틱류",
    "메탈리": "금속류",
    "배리": "전지",
    "라이티": "조명제품",
    "일렉": "전기전자제품",
    "폼이": "발포합성수지",
}
"""Name → middle class. The apps draw characters by these names, so neither may change here alone."""
CLASS_WORDS = (
    *("음식물", "음식물쓰레기", "음식쓰레기", "음쓰", "비닐", "플라스틱", "종이", "캔", "고철", "유리", "유리병"),
    *("종이팩", "스티로폼", "페트병", "투명페트병", "food waste", "plastic", "paper", "film", "glass", "can", "metal"),
    *("scrap metal", "cardboard", "pet", "clear pet"),
)
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
        problems.extend(_check(books))
        if not problems:
            return _assemble(books, version)
    raise KnowledgeError(problems)


def _books(documents: Mapping[str, object], problems: list[str]) -> "Books | None":
    """Without sources or drop-offs a knowledge base is poorer, and still one."""
    given = {SOURCES: {"sources": []}, DROP_OFFS: {"drop_offs": []}, **documents}
    taxonomy = _validate(given, TAXONOMY, Taxonomy, problems)
    rulebook = _validate(given, RULES, Rulebook, problems)
    situations = _validate(given, SITUATIONS, SituationBook, problems)
    cast = _validate(given, CHARACTERS, Cast, problems)
    sources = _validate(given, SOURCES, SourceBook, problems)
    drop_offs = _validate(given, DROP_OFFS, DropOffBook, problems)
    regions = [_validate(given, name, Region, problems) for name in given if name.startswith(f"{REGIONS}/")]
    if taxonomy and rulebook and situations and cast and sources and drop_offs and all(regions):
        return Books(taxonomy, rulebook, situations, cast, sources, drop_offs, tuple(filter(None, regions)))
    return None


def default_directory() -> Path:
    """data/ of the checkout; in an image it is copied into the working directory."""
    candidates = [Path(__file__).resolve().parents[2] / "data", Path.cwd() / "data"]
    for candidate in candidates:
        if (candidate / TAXONOMY).is_file():
            return candidate
    raise KnowledgeError([f"{TAXONOMY}: file: not found in {' or '.join(map(str, candidates))}"])


def names(source: Path) -> list[str]:
    optional = [name for name in (SOURCES, DROP_OFFS) if (source / name).is_file()]
    regions = sorted(f"{REGIONS}/{path.name}" for path in (source / REGIONS).glob("*.yaml"))
    return [*FILES, *optional, *regions]


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
    """How an entry of a list is called; "" where it has no name."""
    keys = entry if isinstance(entry, dict) else {}
    return next((str(keys[key]) for key in NAMING if key in keys), "")


def _digest(source: Path) -> str:
    content = b"".join((source / name).read_bytes() for name in names(source))
    return hashlib.sha256(content).hexdigest()[:12]


@dataclass(frozen=True)
class Books:
    """The files after their shape was checked."""

    taxonomy: Taxonomy
    rulebook: Rulebook
    situations: SituationBook
    cast: Cast
    sources: SourceBook
    drop_offs: DropOffBook
    regions: tuple[Region, ...]


def _assemble(books: Books, version: str) -> Knowledge:
    taxonomy = books.taxonomy
    items = {item.id: item for item in _place_items(taxonomy)}
    terms = _terms(taxonomy)
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
        terms=terms,
        phrases={word: stems(word) for word in keywords},
        longest_term=max(map(len, terms)),
        classes=frozenset(_class_words(taxonomy)),
        questions={word: entry for entry in taxonomy.ambiguous for word in _words_of(entry)},
        index=Index.of(terms, items.values()),
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


def _records(taxonomy: Taxonomy) -> list[ItemRecord]:
    return [record for group in taxonomy.groups for record in group.items]


def _words(taxonomy: Taxonomy) -> dict[str, list[str]]:
    """Normalized word -> the items that claim it as name, English name or alias."""
    claims: dict[str, list[str]] = defaultdict(list)
    for record in _records(taxonomy):
        for word in (record.ko, record.en, *record.aliases, *record.aliases_en):
            claims[normalize(word)].append(record.id)
    return claims


def _class_words(taxonomy: Taxonomy) -> Iterator[str]:
    """How people call a stream in "is it …?"."""
    yield from map(normalize, CLASS_WORDS)
    for stream in taxonomy.streams:
        yield from (normalize(stream.ko), normalize(stream.en))


def _words_of(entry: Ambiguity) -> list[str]:
    return [normalize(word) for word in (entry.term, *entry.terms_en)]


def _terms(taxonomy: Taxonomy) -> dict[str, tuple[str, ...]]:
    """Word -> items. A declared ambiguity names all its candidates, unless the word is an item's own name."""
    proper = {normalize(record.ko) for record in _records(taxonomy)}
    terms = {word: tuple(ids) for word, ids in _words(taxonomy).items()}
    for entry in taxonomy.ambiguous:
        terms |= {word: entry.candidates for word in _words_of(entry) if word not in proper}
    for record in _records(taxonomy):
        for part in map(normalize, _parts(record.en)):
            terms.setdefault(part, (record.id,))
    variants = {variant: terms[word] for word in terms for variant in _variants(word)}
    return {**variants, **terms}


def _parts(name: str) -> Iterator[str]:
    """The names in "laptop or tablet" and in "wine or spirits bottle"."""
    parts = re.split(r",\s*(?:or\s+)?|\s+or\s+", name)
    head = parts[-1].split()[-1]
    for part in parts if len(parts) > 1 else ():
        yield part if part.endswith(head) or " " not in parts[-1] else f"{part} {head}"


SYNONYMS = (
    ("껍질", "껍데기"),
    ("상자", "박스"),
    ("봉지", "봉투"),
    ("통", "용기"),
    ("계란", "달걀"),
    ("휴대폰", "핸드폰"),
    ("드라이기", "드라이어"),
    ("바디", "보디"),
    ("can", "tin"),
)


def _variants(word: str) -> Iterator[str]:
    """Other ways to say a name: parts of it by their synonyms, English plurals."""
    yield from _numbers(word)
    for one, other in SYNONYMS:
        for said, variant in ((one, other), (other, one)):
            if len(word) > len(said) and (
                word.endswith(said) or (len(said) > 1 and not said.isascii() and word.startswith(said))
            ):
                yield word.replace(said, variant)


def _numbers(word: str) -> Iterator[str]:
    """English plurals that are not only an added s, and the singular of a plural."""
    if not word.isascii() or not word.isalpha() or len(word) < 4:
        return
    for ending, plural in (("fe", "ves"), ("lf", "lves"), ("af", "aves"), ("y", "ies")):
        if word.endswith(ending) and (ending != "y" or word[-2] not in "aeiou"):
            yield word.removesuffix(ending) + plural
    if word.endswith("ies"):
        yield word.removesuffix("ies") + "y"
    elif word.endswith("s") and not word.endswith(("ss", "ves")):  # to leave is no leaf
        yield word.removesuffix("s")


def _check(books: Books) -> Iterator[str]:
    taxonomy, rulebook, situations, cast = books.taxonomy, books.rulebook, books.situations, books.cast
    yield from _check_unique(taxonomy, rulebook, situations, cast)
    yield from _check_classes(taxonomy)
    yield from _check_words(taxonomy)
    yield from _check_rules(taxonomy, rulebook)
    yield from _check_items(taxonomy, rulebook, situations)
    yield from _check_situations(taxonomy, rulebook, situations)
    yield from _check_characters(taxonomy, rulebook, cast)


def _repeated(values: Iterable[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]


def _check_unique(taxonomy: Taxonomy, rulebook: Rulebook, situations: SituationBook, cast: Cast) -> Iterator[str]:
    columns: list[tuple[str, str, Sequence[object]]] = [
        (TAXONOMY, "majors", [major.name for major in taxonomy.majors]),
        (TAXONOMY, "majors", [major.id for major in taxonomy.majors]),
        (TAXONOMY, "streams", [stream.id for stream in taxonomy.streams]),
        (TAXONOMY, "groups", [group.id for group in taxonomy.groups]),
        (TAXONOMY, "items", [record.id for record in _records(taxonomy)]),
        (TAXONOMY, "ambiguous", [normalize(entry.term) for entry in taxonomy.ambiguous]),
        (RULES, "rules", [rule.stream for rule in rulebook.rules]),
        (SITUATIONS, "situations", [situation.id for situation in situations.situations]),
        (CHARACTERS, "characters", [character.code for character in cast.characters]),
        (CHARACTERS, "characters", [character.name for character in cast.characters]),
    ]
    for file, key, values in columns:
        yield from (f"{file}: {key}: {value} is there twice" for value in _repeated(values))


def _unknown(file: str, key: str, what: str, used: Iterable[str | None], known: Iterable[str]) -> Iterator[str]:
    missing = {name for name in used if name is not None} - set(known)
    yield from (f"{file}: {key}: unknown {what} {name}" for name in sorted(missing))


def _check_classes(taxonomy: Taxonomy) -> Iterator[str]:
    by_stream = {stream.id: stream.class_label for stream in taxonomy.streams}
    by_item = {r.id: r.class_label or by_stream.get(r.stream) for r in _records(taxonomy)}
    majors = {major.name for major in taxonomy.majors}
    yield from _unknown(TAXONOMY, "recyclable_major", "major class", [taxonomy.recyclable_major], majors)
    yield from (f"{TAXONOMY}: {item}: resolves to no class" for item, label in by_item.items() if not label)
    own = {record.id: record.class_label for record in _records(taxonomy)}
    for key, label in [*by_stream.items(), *own.items()]:
        if label is None:
            continue
        yield from _unknown(TAXONOMY, key, "major class", [label.major], majors)
        if label.major == taxonomy.recyclable_major:
            yield from _unknown(TAXONOMY, key, "middle class", [label.middle], taxonomy.recyclable_middles)


def _check_words(taxonomy: Taxonomy) -> Iterator[str]:
    declared = {normalize(entry.term): set(entry.candidates) for entry in taxonomy.ambiguous}
    ids = [record.id for record in _records(taxonomy)]
    for entry in taxonomy.ambiguous:
        yield from _unknown(TAXONOMY, f"ambiguous.{entry.term}", "item", entry.candidates, ids)
    for word, claims in _words(taxonomy).items():
        if not word:
            yield f"{TAXONOMY}: {claims[0]}: has an empty alias"
        elif len(set(claims)) < len(claims):
            yield f"{TAXONOMY}: {claims[0]}: has {word} twice"
        elif len(claims) > 1 and not set(claims) <= declared.get(word, set()):
            yield f"{TAXONOMY}: {', '.join(claims)}: share {word}, which ambiguous does not declare for them"


def _check_rules(taxonomy: Taxonomy, rulebook: Rulebook) -> Iterator[str]:
    streams = {stream.id for stream in taxonomy.streams}
    ruled = {rule.stream for rule in rulebook.rules}
    bases = [basis.id for basis in rulebook.legal_basis]
    yield from (f"{TAXONOMY}: {stream}: has no rule" for stream in sorted(streams - ruled))
    yield from (f"{RULES}: {stream}: is a rule for no stream" for stream in sorted(ruled - streams))
    for rule in rulebook.rules:
        codes = [step.code for step in rule.steps]
        yield from (f"{RULES}: {rule.stream}: step {code} is there twice" for code in _repeated(codes))
        yield from _unknown(RULES, rule.stream, "step label", codes, rulebook.step_labels)
        yield from _unknown(RULES, rule.stream, "legal basis", rule.basis, bases)
        yield from _unknown(RULES, rule.stream, "stream", [case.then for case in rule.exceptions], streams)
        texts = [*(step.ko for step in rule.steps), *rule.do_ko]
        yield from _check_forbidden(f"{RULES}: {rule.stream}", texts, [rule])


def _check_items(taxonomy: Taxonomy, rulebook: Rulebook, situations: SituationBook) -> Iterator[str]:
    rules = {rule.stream: rule for rule in rulebook.rules}
    streams = {stream.id for stream in taxonomy.streams}
    advice = {situation.id for situation in situations.situations}
    for record in _records(taxonomy):
        yield from _unknown(TAXONOMY, record.id, "stream", [record.stream, *record.alt_streams], streams)
        rule = rules.get(record.stream)
        if rule is None:
            continue
        codes = {step.code for step in rule.steps}
        yield from _unknown(TAXONOMY, record.id, "step or situation", record.skip, codes | advice)
        steps = len(record.steps_ko) + len(codes - set(record.skip))
        if not 0 < steps <= MAX_STEPS:
            yield f"{TAXONOMY}: {record.id}: has {steps} steps, not 1 to {MAX_STEPS}"
        yield from _check_forbidden(
            f"{TAXONOMY}: {record.id}", [*record.steps_ko, record.where_ko, record.note_ko], [rule]
        )


def _check_situations(taxonomy: Taxonomy, rulebook: Rulebook, book: SituationBook) -> Iterator[str]:
    streams = {stream.id for stream in taxonomy.streams}
    items = {record.id for record in _records(taxonomy)}
    codes = {step.code for rule in rulebook.rules for step in rule.steps}
    for name, scope in book.scopes.items():
        yield from _unknown(SITUATIONS, f"scopes.{name}", "stream", scope.streams, streams)
        yield from _unknown(SITUATIONS, f"scopes.{name}", "item", scope.items + scope.except_items, items)
    for situation in book.situations:
        key = situation.id
        yield from _unknown(SITUATIONS, key, "target stream", [situation.target_stream], streams)
        yield from _unknown(SITUATIONS, key, "scope", situation.applies_to, book.scopes)
        yield from _unknown(SITUATIONS, key, "step", situation.covered_by, codes)
        yield from _unknown(SITUATIONS, key, "kind in precedence", [situation.kind], book.precedence)
        if situation.target_stream and situation.kind not in ("safety", "reroute"):
            yield f"{SITUATIONS}: {key}: a situation of kind {situation.kind} cannot have a target stream"
        if situation.kind == "reroute" and not situation.target_stream:
            yield f"{SITUATIONS}: {key}: reroutes to no target stream"
        if situation.target_stream and not situation.why_ko.endswith("니"):
            yield f'{SITUATIONS}: {key}: why_ko must give the reason and end in "-니"'
        aimed = {stream for name in situation.applies_to for stream in _streams_of(book, name)}
        rules = [rule for rule in rulebook.rules if rule.stream in aimed]
        yield from _check_forbidden(f"{SITUATIONS}: {key}", [situation.step_ko, situation.say_ko], rules)


def _streams_of(book: SituationBook, scope: str) -> tuple[str, ...]:
    return book.scopes[scope].streams if scope in book.scopes else ()


def _check_characters(taxonomy: Taxonomy, rulebook: Rulebook, cast: Cast) -> Iterator[str]:
    """Each middle class has its character; a line must be true for every stream it can be shown with."""
    matches = [character.match for character in cast.characters]
    yield from _unknown(CHARACTERS, "characters", "middle class", matches, taxonomy.recyclable_middles)
    for middle in taxonomy.recyclable_middles:
        if matches.count(middle) != 1:
            yield f"{CHARACTERS}: {middle}: has {matches.count(middle)} characters, not 1"
    if matches.count(None) != 1:
        yield f"{CHARACTERS}: characters: {matches.count(None)} have no match, not 1"
    yield from _check_names(cast)
    middles = {s.id: s.class_label.middle for s in taxonomy.streams if s.class_label}
    for character in cast.characters:
        shown = middles if character.match is None else [s for s in middles if middles[s] == character.match]
        rules = [rule for rule in rulebook.rules if rule.stream in shown]
        yield from _check_forbidden(f"{CHARACTERS}: {character.code}", [character.dialog], rules)


def _check_names(cast: Cast) -> Iterator[str]:
    found = {character.name: character.match for character in cast.characters}
    fixed = "the apps look characters up by name"
    for name in sorted(CLIENT_CHARACTERS.keys() - found.keys()):
        yield f"{CHARACTERS}: {name}: is missing; {fixed}"
    for character in cast.characters:
        if character.name not in CLIENT_CHARACTERS:
            yield f"{CHARACTERS}: {character.code}: {character.name} is no name that the apps know; {fixed}"
        elif character.match != CLIENT_CHARACTERS[character.name]:
            wanted = CLIENT_CHARACTERS[character.name] or "null"
            yield f"{CHARACTERS}: {character.name}: match is {character.match or 'null'}, not {wanted}"


def _check_forbidden(key: str, texts: Iterable[str], rules: Iterable[Rule]) -> Iterator[str]:
    forbidden = [(rule.stream, words, stems(words)) for rule in rules for words in rule.forbid]
    for text in texts:
        plain = normalize(text)
        for stream, words, sought in forbidden:
            if says(plain, sought):
                yield f'{key}: "{text}" tells people to do what {stream} forbids ({words})'
