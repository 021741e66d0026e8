"""Rules on which the files of data/ must agree; each finding is one "file: key: what"."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from eco2.knowledge.models import (
    GENERAL_BAG,
    Cast,
    DropOffBook,
    EmergencyBook,
    Region,
    Rule,
    Rulebook,
    SituationBook,
    SourceBook,
    Taxonomy,
    TopicBook,
)
from eco2.knowledge.words import lexicon
from eco2.knowledge.words.lexicon import Lexicon
from eco2.knowledge.words.text import normalize, says, stems
from eco2.knowledge.words.vocabulary import claimed_words, records

MAX_STEPS = 10  # a result has room for 단계1 … 단계10
TAXONOMY, RULES, SITUATIONS, CHARACTERS = "taxonomy.yaml", "rules.yaml", "situations.yaml", "characters.yaml"


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
    lexicon: Lexicon
    emergencies: EmergencyBook
    topics: TopicBook


def problems_of(books: Books) -> Iterator[str]:
    taxonomy, rulebook, situations, cast = books.taxonomy, books.rulebook, books.situations, books.cast
    yield from _check_unique(taxonomy, rulebook, situations, cast)
    yield from _check_classes(taxonomy)
    yield from _check_first_steps(taxonomy, rulebook)
    yield from _check_words(taxonomy)
    yield from _check_rules(taxonomy, rulebook)
    yield from _check_items(taxonomy, rulebook, situations)
    yield from _check_situations(taxonomy, rulebook, situations)
    yield from _check_characters(taxonomy, rulebook, cast)
    items = frozenset(record.id for record in records(taxonomy))
    yield from lexicon.problems(books.lexicon, items, frozenset(stream.id for stream in taxonomy.streams))
    yield from _check_safety(taxonomy, rulebook, situations)
    yield from _check_intents(books)


def _repeated(values: Iterable[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]


def _check_unique(taxonomy: Taxonomy, rulebook: Rulebook, situations: SituationBook, cast: Cast) -> Iterator[str]:
    columns: list[tuple[str, str, Sequence[object]]] = [
        (TAXONOMY, "majors", [major.name for major in taxonomy.majors]),
        (TAXONOMY, "majors", [major.id for major in taxonomy.majors]),
        (TAXONOMY, "streams", [stream.id for stream in taxonomy.streams]),
        (TAXONOMY, "groups", [group.id for group in taxonomy.groups]),
        (TAXONOMY, "items", [record.id for record in records(taxonomy)]),
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
    by_item = {r.id: r.class_label or by_stream.get(r.stream) for r in records(taxonomy)}
    majors = {major.name for major in taxonomy.majors}
    yield from _unknown(TAXONOMY, "recyclable_major", "major class", [taxonomy.recyclable_major], majors)
    yield from (f"{TAXONOMY}: {item}: resolves to no class" for item, label in by_item.items() if not label)
    own = {record.id: record.class_label for record in records(taxonomy)}
    for key, label in [*by_stream.items(), *own.items()]:
        if label is None:
            continue
        yield from _unknown(TAXONOMY, key, "major class", [label.major], majors)
        if label.major == taxonomy.recyclable_major:
            yield from _unknown(TAXONOMY, key, "middle class", [label.middle], taxonomy.recyclable_middles)


def _check_first_steps(taxonomy: Taxonomy, rulebook: Rulebook) -> Iterator[str]:
    rules = {rule.stream: [rule] for rule in rulebook.rules}
    for stream in taxonomy.streams:
        if stream.kind != "recycle" and stream.id != GENERAL_BAG and not stream.first_ko:
            yield f"{TAXONOMY}: {stream.id}: first_ko is missing; apps would send things into the general bag"
        yield from _check_forbidden(f"{TAXONOMY}: {stream.id}", [stream.first_ko], rules.get(stream.id, []))
    for record in records(taxonomy):
        if record.care > len(record.steps_ko):
            yield f"{TAXONOMY}: {record.id}: care is {record.care}, but it has {len(record.steps_ko)} steps of its own"


def _check_words(taxonomy: Taxonomy) -> Iterator[str]:
    declared = {normalize(entry.term): set(entry.candidates) for entry in taxonomy.ambiguous}
    ids = [record.id for record in records(taxonomy)]
    for entry in taxonomy.ambiguous:
        yield from _unknown(TAXONOMY, f"ambiguous.{entry.term}", "item", entry.candidates, ids)
    for alike in taxonomy.look_alikes:
        yield from _unknown(TAXONOMY, "look_alikes", "item", alike, ids)
    for word, claims in claimed_words(taxonomy).items():
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
    for record in records(taxonomy):
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
    items = {record.id for record in records(taxonomy)}
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


def _check_safety(taxonomy: Taxonomy, rulebook: Rulebook, book: SituationBook) -> Iterator[str]:
    """Danger is told wherever the thing goes, so its texts have to be there and to name what exists."""
    items = [record.id for record in records(taxonomy)]
    codes = {step.code for rule in rulebook.rules for step in rule.steps}
    names = {*codes, *(situation.id for situation in book.situations), "note"}
    for situation in book.situations:
        yield from _unknown(SITUATIONS, situation.id, "item", [situation.like], items)
        yield from _unknown(SITUATIONS, situation.id, "step or situation", situation.instead_of, names)
        for field in situation.safety:
            if not getattr(situation, f"{field}_ko"):
                yield f"{SITUATIONS}: {situation.id}: {field}_ko is about danger and missing"
        if situation.kind == "safety" and situation.step_ko and "step" not in situation.safety:
            yield f"{SITUATIONS}: {situation.id}: is about danger, but a reroute would drop its step"
    for rule in rulebook.rules:
        if rule.care > len(rule.dont_ko):
            yield f"{RULES}: {rule.stream}: care is {rule.care}, but there are {len(rule.dont_ko)} things not to do"
    for record in records(taxonomy):
        if record.warns and not record.note_ko:
            yield f"{TAXONOMY}: {record.id}: warns, but has no note"


def _check_intents(books: Books) -> Iterator[str]:
    items = [record.id for record in records(books.taxonomy)]
    sources = [source.id for source in books.sources.sources]
    for one in books.emergencies.emergencies:
        yield from _unknown("emergencies.yaml", one.id, "item", one.items, items)
    for agents in books.emergencies.apart:
        yield from _unknown("emergencies.yaml", "apart", "item", agents.items, items)
    for file, words, entries in (
        ("emergencies.yaml", books.emergencies.words, books.emergencies.emergencies),
        ("topics.yaml", books.topics.words, books.topics.topics),
    ):
        yield from (f"{file}: {name} is there twice" for name in _repeated(entry.id for entry in entries))
        for entry in entries:
            groups = [group for way in entry.when for group in way]
            yield from _unknown(file, entry.id, "group of words", groups, words)
            yield from _unknown(file, entry.id, "source", entry.sources, sources)


def _check_forbidden(key: str, texts: Iterable[str], rules: Iterable[Rule]) -> Iterator[str]:
    forbidden = [(rule.stream, words, stems(words)) for rule in rules for words in rule.forbid]
    for text in texts:
        plain = normalize(text)
        for stream, words, sought in forbidden:
            if says(plain, sought):
                yield f'{key}: "{text}" tells people to do what {stream} forbids ({words})'
