"""Item that a noun of a sentence means: by its name, by a name whose parts stand apart, by its material or quality."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from eco2.knowledge import matching
from eco2.knowledge.knowledge import DANGEROUS, Knowledge
from eco2.knowledge.models import Ambiguity, Item
from eco2.knowledge.words import index
from eco2.knowledge.words.clauses import INSIDE
from eco2.knowledge.words.lexicon import Material
from eco2.knowledge.words.text import Span, Squashed, in_list, is_hangul, longest, normalize
from eco2.knowledge.words.tokens import Token

MOST = 30
"""Things, conditions and words of a text that are looked at: nobody names more, and a text made up of them may not
stop the process."""
NEAR = 10
"""Letters of adjectives between two entries of a list."""
SHORT = 100
"""Letters of a text in which any word may tell of which kind a thing is."""
REACH = 6
"""Words over which the parts of one name are looked for."""
BETWEEN = re.compile(
    r"(?:의|로된|으로된)?(?:[가-힣]{1,9}(?:던|은|는|인|한|된|진|난|긴|있잖아))?"
    r"(?:투명|무색|플라스틱|유리|종이|비닐|일회용|작은|큰|빈|헌|흰|하얀|은색|검은|까만|다쓴|남은|스티로폼)*"
)
"""Words that may stand between the parts of one name: "휴지 다 쓰고 남은 심" is a 휴지심."""
MATERIAL = re.compile(
    r"(?:투명|무색|플라스틱|유리|종이|비닐|일회용|작은|큰|빈|헌|흰|하얀|은색|검은|까만|스티로폼|페트|음료|생수|물)+"
)
"""The first part of a word that is dropped to find a name: 참기름 유리병 is a 참기름병."""
BARE = re.compile(
    r"(?:투명|무색|플라스틱|유리|종이|비닐|스티로폼|페트|갈색|초록색?|녹색|파란색?|빨간색?|검은색?|까만색?|노란색?|하얀색?|흰색?|분홍색?|핑크색?|유색|쇠|철|스텐|나무|원목|도자기|금속|알루미늄)+"
)
"""Materials and colours, without a word that tells them of what stands before."""
APART = ("JKB", "JC", "NR", "SN", "MM")
"""Parts of speech that keep the parts of a name apart: 농약이 한 병 is no 농약병."""
SOLID = ("plastic", "glass", "paper", "metal", "film", "foam", "pet")
"""Materials that rule out an item of another one."""
EMPTY = frozenset(("empty", "emptied", "rinsed", "finished", "washed"))
"""Of a container that nothing is left in."""
KIND_OF = re.compile(r"(?:kind|type|sort|version|one)")


def joined(
    knowledge: Knowledge, squashed: Squashed, tokens: Sequence[Token], nouns: Sequence[Span], phrases: Sequence[Span]
) -> list[Span]:
    """Names whose parts stand apart: "딸기 담겼던 투명 팩" is a 딸기팩, "참기름 유리병" a 참기름병."""
    written = index.written_words(squashed, [*nouns, *phrases])
    words = [word for word in written if is_hangul(word.term[0]) and word.term not in INSIDE]
    parts = sorted([*nouns, *words], key=lambda span: span.start)[:MOST]
    signs = squashed.breaks | squashed.stops
    found: list[Span] = []
    for one, other in ((one, other) for n, one in enumerate(parts) for other in parts[n + 1 : n + REACH + 1]):
        if not is_hangul(one.term[0]):
            continue
        gap = squashed.text[one.end : other.start]
        parted = any(one.end <= place <= other.start for place in signs)
        crossed = any(one.end <= noun.start and noun.end <= other.start for noun in nouns)
        excluded = gap.startswith(tuple(knowledge.lexicon.korean.excluded))
        if parted or crossed or excluded or squashed.bracketed(one.end, other.start) or not BETWEEN.fullmatch(gap):
            continue
        if any(one.end <= token.start < other.start and _keeps_apart(token) for token in tokens):
            continue
        if one in nouns and other in nouns and _head_of(knowledge, one, other):
            found.append(Span(one.start, other.end, one.term))
        elif (term := _compound(knowledge, one, other, known=other in nouns)) and not (
            one in nouns and other in nouns and _two(knowledge, term, one, other)
        ):
            found.append(Span(one.start, other.end, term))
    return longest([*nouns, *found])


def _keeps_apart(token: Token) -> bool:
    return token.tags[0] in APART or (token.tags[0] == "JX" and token.surface in ("은", "는", "도", "만"))


def _compound(knowledge: Knowledge, one: Span, other: Span, *, known: bool) -> str | None:
    # After a word that is no name itself, that of something dangerous is whole: a 빈 부탄가스캔 is no 빈캔.
    whole = (
        one.term not in knowledge.terms
        and other.term in knowledge.terms
        and any(item.warns or item.stream in DANGEROUS for item in knowledge.named(other.term))
    )
    for start in range(len(other.term)) if known and not whole else range(1):
        dropped, kept = other.term[:start], other.term[start:]
        if dropped in knowledge.terms and knowledge.edible(dropped):
            continue  # a 맥주병 after 사이다페트 is one more
        filled = one.term in knowledge.lexicon.korean.soils or (
            one.term in knowledge.terms and knowledge.edible(one.term)
        )
        if filled and dropped and not MATERIAL.fullmatch(dropped) and dropped not in knowledge.materials:
            continue  # a 머그컵 with 커피 in it is no 커피컵
        if start and len(kept) == 1 and kept not in knowledge.lexicon.korean.containers:
            continue  # and so is a 정수기 after a 비데
        term = one.term + other.term[start:]
        if term in knowledge.terms and term not in (one.term, other.term):
            fits = all(_fits(knowledge, item, other.term[:start]) for item in knowledge.named(term))
            return term if fits else None
    return None


def _two(knowledge: Knowledge, term: str, one: Span, other: Span) -> bool:
    """True for two things that stand together in the name of their item only: 벨트 and 모자 in "벨트·모자"."""
    alike = knowledge.terms[one.term] == knowledge.terms[other.term] == knowledge.terms[term]
    return alike and term in knowledge.pairs and term == one.term + other.term and len(other.term) > 1


def _head_of(knowledge: Knowledge, one: Span, other: Span) -> bool:
    """True when a noun only says again what a name ends with: the 용기 of a 컵라면스티로폼."""
    items = knowledge.named(one.term)
    generic = other.term in knowledge.lexicon.korean.containers and not one.term.endswith(other.term)
    return generic and len(items) == 1 and normalize(items[0].ko).endswith(other.term)


def _fits(knowledge: Knowledge, item: Item, dropped: str) -> bool:
    """True when an item is of the materials that a dropped part of a word names: a 맥주 페트병 is no 맥주병."""
    solid = [material for material in knowledge.lexicon.materials.materials if material.id in SOLID]
    told = [material for material in solid if any(word in dropped for word in material.said)]
    return all(_named_after(knowledge, item, material) or item.stream in material.streams for material in told)


def _named_after(knowledge: Knowledge, item: Item, material: Material) -> bool:
    ko, en, *_ = knowledge.index.normalized(item)
    return any(word in ko + en for word in material.said)


@dataclass(frozen=True)
class _Around:
    """The text between the nouns before and after one: what is said of it."""

    text: str
    words: frozenset[str]

    def says(self, words: Iterable[str]) -> bool:
        """Korean words may be parts of written ones."""
        return any(word in (self.text if is_hangul(word[0]) else self.words) for word in words)


def subject(knowledge: Knowledge, squashed: Squashed, span: Span, nouns: Sequence[Span] = ()) -> Item | Ambiguity:
    """Meaning of a noun, with all that is said around it."""
    around = _around(knowledge, squashed, span, nouns)
    found = _named(knowledge, squashed, span, nouns, around)
    return _sibling(knowledge, found, around)


def _named(
    knowledge: Knowledge, squashed: Squashed, span: Span, nouns: Sequence[Span], around: _Around
) -> Item | Ambiguity:
    if (better := _english_compound(knowledge, squashed, span)) is not None:
        return better
    if other := _of_material(knowledge, squashed, around, span):
        return other
    items = knowledge.named(span.term)
    if len(items) == 1 or len({item.stream for item in items}) == 1:
        return items[0]
    if (told := _told_before(knowledge, squashed, span)) is not None:
        return told
    written = _written(squashed, span)
    term = matching.misspelt(knowledge, written, alone=True) if written != span.term else None
    if term and len(knowledge.terms[term]) == 1:
        return knowledge.named(term)[0]
    left = _told_apart_by_words(knowledge, _told_apart(knowledge, items, around), squashed, span, nouns)
    return left[0] if len({item.stream for item in left}) == 1 else knowledge.question(span.term)


def _told_before(knowledge: Knowledge, squashed: Squashed, span: Span) -> Item | None:
    """The one meaning that the written word before it names as well: a "mercury glass thermometer" holds mercury."""
    before = [edge for edge in squashed.starts if edge < span.start]
    word = squashed.text[max(before) : span.start] if before else ""
    if word not in knowledge.terms or span.start in squashed.breaks | squashed.stops:
        return None
    shared = [name for name in knowledge.terms[span.term] if name in knowledge.terms[word]]
    return knowledge.item(shared[0]) if len(shared) == 1 and knowledge.dangerous(word) else None


def _around(knowledge: Knowledge, squashed: Squashed, span: Span, nouns: Sequence[Span]) -> _Around:
    """Text between the nouns before and after, without kinds that the noun is said not to be."""
    start = max((noun.end for noun in nouns if noun.end <= span.start), default=0)
    end = min((noun.start for noun in nouns if noun.start >= span.end), default=len(squashed.text))
    signed = any(span.end <= place <= end for place in squashed.breaks | squashed.stops)
    listed = end < len(squashed.text) and not signed and not squashed.bracketed(span.end, end)
    if listed and BARE.fullmatch(squashed.text, span.end, end):
        end = span.end  # the 갈색 of "생수병 갈색 간장병" is said of the next one
    text = squashed.text[start : span.start] + " " + squashed.text[span.end : end]
    edges = sorted(squashed.starts | {len(squashed.text)})
    words = {
        squashed.text[one:other] for one, other in pairwise(edges) if start <= one < span.start or span.end <= one < end
    }
    return _Around(knowledge.unsaid_kinds.sub(" ", text), frozenset(words))


def _sibling(knowledge: Knowledge, found: Item | Ambiguity, around: _Around) -> Item | Ambiguity:
    """The item that a quality makes of another one: a pink styrofoam box is coloured foam. Of a word for several, the
    quality chooses the one that it makes of others: a thermometer with red liquid holds no mercury."""
    names = (found.id,) if isinstance(found, Item) else found.candidates
    for sibling in knowledge.lexicon.materials.siblings:
        fits = isinstance(found, Item) or sibling.then in names
        if fits and not set(sibling.of).isdisjoint(names) and around.says(sibling.said):
            return knowledge.item(sibling.then)
    return found


def _told_apart(knowledge: Knowledge, items: Sequence[Item], around: _Around) -> Sequence[Item]:
    """The candidates that a material or kind named around the noun leaves."""
    for material in knowledge.lexicon.materials.materials:
        if around.says(material.said):
            named = [item for item in items if _named_after(knowledge, item, material)]
            items = named or [item for item in items if item.stream in material.streams] or items
    return items


def _told_apart_by_words(
    knowledge: Knowledge, items: Sequence[Item], squashed: Squashed, span: Span, nouns: Sequence[Span]
) -> Sequence[Item]:
    """The candidates that have another word of the sentence in a name: the tofu of "cat litter, the tofu kind"."""
    if len(nouns) > 2 or len(squashed.text) > SHORT:
        return items
    for word in index.content_words(squashed, [span], knowledge.no_things):
        others = [noun for noun in nouns if noun.start <= word.start < noun.end]
        kinds = [noun for noun in others if KIND_OF.match(squashed.text, noun.end)]
        if not kinds and any(neighbours(squashed, noun, span) for noun in others):
            continue
        named = [item for item in items if any(word.term in name for name in knowledge.index.normalized(item))]
        items = named or items
    return items


def neighbours(squashed: Squashed, one: Span, other: Span) -> bool:
    first, second = sorted((one, other), key=lambda span: span.start)
    between = squashed.text[first.end : second.start]
    parted = any(first.end <= place <= second.start for place in squashed.breaks)
    if parted:
        return second.start >= first.end and len(between) <= NEAR
    return second.start > first.end and in_list(squashed, first, second)


def _english_compound(knowledge: Knowledge, squashed: Squashed, span: Span) -> Item | None:
    """Of "snack bag" the index may know the bag only: what the words together mean, if that is sure."""
    before = [edge for edge in squashed.starts if edge < span.start]
    if is_hangul(span.term[0]) or not before or span.start in squashed.breaks | squashed.stops:
        return None
    word = squashed.text[max(before) : span.start]
    items, sure = matching.candidates(knowledge, [word, span.term]) if index.is_noun(word) else ((), False)
    return items[0] if sure else None


def _of_material(knowledge: Knowledge, squashed: Squashed, around: _Around, span: Span) -> Item | None:
    """The item that the word names with a material told elsewhere: a "jar … (plastic)" is a plastic jar."""
    english = not is_hangul(span.term[0])
    known = knowledge.named(span.term)
    fitting = [m for m in knowledge.lexicon.materials.materials if m.id in SOLID and around.says(m.said)]
    if len(known) == 1 and any(known[0].stream in material.streams for material in fitting):
        return None  # an "egg carton (paper)" is one already
    parted = english and not knowledge.dangerous(span.term)  # fluorescent tubes in plastic are no plastic tubes
    edges = [edge for edge in squashed.starts if span.start < edge < span.end and parted]
    heads = [span.term, *(squashed.text[edge : span.end] for edge in edges)]
    solid = [word for m in knowledge.lexicon.materials.materials if m.id in (*SOLID, "wood") for word in m.said]
    solid = [word for word in solid if not english or _told_of(squashed, span, word)]
    names = (knowledge.terms.get(word + head, ()) for word in solid if around.says((word,)) for head in heads)
    return next((knowledge.items[ids[0]] for ids in names if len(ids) == 1), None)


def _told_of(squashed: Squashed, span: Span, word: str) -> bool:
    """True when a material stands before a noun, or alone behind it: not in "a carton with a plastic spout"."""
    edges = sorted(squashed.starts | {len(squashed.text)})
    signs = squashed.breaks | squashed.stops | {place for aside in squashed.asides for place in aside}
    for one, other in pairwise(edges):
        if squashed.text[one:other] != word:
            continue
        following = [edge for edge in edges if other <= edge < len(squashed.text)]
        last = other == len(squashed.text) or any(sign in signs for sign in (other, *following[:1]))
        near = sum(other <= edge < span.start for edge in edges) <= 1
        parted = any(other <= sign <= span.start for sign in signs)
        if (one >= span.end and last) or (one < span.start and near and not parted):
            return True
    return False


def _written(squashed: Squashed, span: Span) -> str:
    """The span with what is written before it in the same word: of "뽀조배터리" the index only knows the end."""
    return squashed.text[max(start for start in squashed.starts if start <= span.start) : span.end]


def containers_of(knowledge: Knowledge, squashed: Squashed, nouns: Sequence[Span]) -> list[Span]:
    """English names turned round: a "bottle of soy sauce" is a soy sauce bottle, if there is such a name."""
    edges = sorted(squashed.starts | {len(squashed.text)})
    words = [Span(one, other, squashed.text[one:other]) for one, other in pairwise(edges)]
    found: list[Span] = []
    full = any(word.term in knowledge.lexicon.english.filled for word in words)
    for noun in nouns:
        following = [word for word in words if word.start >= noun.end]
        if is_hangul(noun.term[0]) or not following or following[0].term != "of":
            continue
        rest = following[1:5]
        while rest and rest[0].term in knowledge.lexicon.english.modifiers:
            rest = rest[1:]
        for many in (2, 1):
            said = "".join(word.term for word in rest[:many])
            term = next(
                (t for t in (said + noun.term, said.removesuffix("s") + noun.term) if t in knowledge.terms), None
            )
            contents = [word for word in (said, said[:-1], said[:-2]) if word in knowledge.terms]
            furniture = noun.term not in knowledge.lexicon.english.containers
            grave = any(item.stream in DANGEROUS for word in contents for item in knowledge.named(word))
            if grave and (furniture or not any(word.term in EMPTY for word in words)):
                break  # a "cabinet of medicine" has to be emptied, unlike a medicine cabinet
            heap = noun.term in knowledge.lexicon.english.heaps
            if heap and contents and not any(knowledge.edible(word) for word in contents):
                break  # a "bag of soil" is soil
            if full and any(knowledge.solid(word) or knowledge.medicine(word) for word in contents):
                break  # what is in it has to leave it, and is asked about as well
            if term and len(rest) >= many:
                found.append(Span(noun.start, rest[many - 1].end, term))
                break
    return longest([*nouns, *found])
