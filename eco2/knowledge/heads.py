"""Compounds whose first part no name knows, told by their head: a "후리카케 통" is a 통, a "spirulina jar" a jar.

The material that the first part names chooses the item, and so does electricity. Where something that may hurt somebody
stands in the same clause it keeps its own advice: nothing is made of a "농약 바구니", nor of a "수은이 든 온도 측정기".
Nor is a container of something unknown that is still in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from eco2.knowledge import matching
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import Item
from eco2.knowledge.words.index import ENGLISH_FUNCTION_WORDS, singular
from eco2.knowledge.words.lexicon import Head
from eco2.knowledge.words.text import PARTICLES, Span, Squashed, is_hangul, normalize
from eco2.knowledge.words.tokens import Token, inside_nouns
from eco2.knowledge.words.vocabulary import compound

MOST_WORDS = 60
"""Written words of a text that are looked at."""
FIRST = 2
"""Written words that may stand before a head."""
APPLIANCES = ("ewaste_pickup", "small_ewaste_bin")
LEAST = 2
"""Syllables before a head that is written as one with them, where it is of one syllable."""
MOST_TOLD = 3
"""Words after one that tells of electricity."""
POWERED = "small_appliance"
LEFT = frozenset(("content_full", "content_partial", "chemical_full", "medicine_left"))
"""Situations in which something is still in a container."""
AGENTS = ("er", "or", "ers", "ors")
"""Ends of English words for what does something: an electric "polisher" is a machine, a rechargeable "cell" is none."""
FIRST_TAGS = ("NNG", "NNP", "SL", "XR", "XSN", "XPN", "UNKNOWN", "SN", "NNBC")
"""Parts of speech that the first part of a compound ends with."""


def with_compounds(
    knowledge: Knowledge, squashed: Squashed, tokens: Sequence[Token], nouns: Sequence[Span], phrases: Sequence[Span]
) -> list[Span]:
    """The nouns, with those compounds as one whose head alone is known."""
    compounds = list(_Compounds(knowledge, squashed, tokens, nouns, phrases).found())
    kept = [noun for noun in nouns if not any(one.start <= noun.start and noun.end <= one.end for one in compounds)]
    apart = [one for one in compounds if not any(noun.start < one.end and one.start < noun.end for noun in kept)]
    return (
        sorted([*kept, *apart], key=lambda span: span.start)
        if len(apart) == len(compounds)
        else _longest(kept, nouns, apart)
    )


def may_have_held(knowledge: Knowledge, said: str) -> bool:
    """True for a compound that is a container of something unknown: that may have been a chemical or a medicine."""
    heads, words = knowledge.lexicon.heads, normalized(said)
    head = next((word for word in (words[-1], singular(words[-1])) if word in heads.by_word), "")
    if not head:
        head = max((one for one in heads.by_word if words[-1].endswith(one) and is_hangul(one[0])), key=len, default="")
    first = [*words[:-1], words[-1].removesuffix(head) if is_hangul(words[-1][0]) else ""]
    materials = frozenset().union(*knowledge.goods_of.values())
    told = [word for word in first if word and word not in materials]
    known = all(word in knowledge.terms and knowledge.edible(word) for word in told)
    return bool(head) and heads.by_word[head].holds and not known


def normalized(said: str) -> list[str]:
    return [normalize(word) for word in said.split()]


def _longest(kept: Sequence[Span], nouns: Sequence[Span], apart: Sequence[Span]) -> list[Span]:
    """The nouns again that a compound would have taken which overlaps another one."""
    left = [noun for noun in nouns if noun in kept or not any(one.start <= noun.start < one.end for one in apart)]
    return sorted([*left, *apart], key=lambda span: span.start)


def _names(item: Item) -> Iterator[list[str]]:
    """The last words of an item's English names, in both numbers."""
    for name in (item.en, *item.aliases_en):
        last = normalize(name.split()[-1])
        yield [last, singular(last)]


@dataclass(frozen=True)
class _Word:
    start: int
    end: int
    text: str


@dataclass(frozen=True, eq=False)
class _Compounds:
    knowledge: Knowledge
    squashed: Squashed
    tokens: Sequence[Token]
    nouns: Sequence[Span]
    phrases: Sequence[Span]

    @cached_property
    def _words(self) -> list[_Word]:
        text, edges = self.squashed.text, sorted(self.squashed.starts | self.squashed.ends)
        return [_Word(one, other, text[one:other]) for one, other in pairwise(edges)][:MOST_WORDS]

    @cached_property
    def _signs(self) -> frozenset[int]:
        brackets = {place for aside in self.squashed.asides for place in aside}
        return self.squashed.breaks | self.squashed.stops | brackets

    @cached_property
    def _ends(self) -> dict[int, Token]:
        return {token.end: token for token in self.tokens}

    def found(self) -> Iterator[Span]:
        taken = 0
        for n, word in enumerate(self._words):
            read = self._korean(n, word, taken) if is_hangul(word.text[0]) else self._english(n, word, taken)
            read = read or self._electric(n, word, taken)
            if read:
                taken = read.end
                yield read

    def _electric(self, n: int, word: _Word, taken: int) -> Span | None:
        """A thing of no known name that is told to be electric: an "electric shoe polisher"."""
        heads = self.knowledge.lexicon.heads
        if word.text not in heads.powered or is_hangul(word.text[0]) or word.start < taken:
            return None
        run = [word]
        for following in self._words[n + 1 : n + 1 + MOST_TOLD]:
            if any(run[-1].end <= sign <= following.start for sign in self._signs) or not self._tells(following):
                break
            run.append(following)
        words = [one.text for one in run[1:]]
        if not words or not self._unknown(run[-1]) or words[-1] in heads.by_word:
            return None
        if not words[-1].endswith(AGENTS) and self._is_other(run[1:]):
            return None
        if self._hurts(word.start, run[-1].end, run[-1].end) or self._keeps(run[1].start, run[-1].end, words):
            return None
        return Span(word.start, run[-1].end, compound(POWERED, "machine"))

    def _is_other(self, run: Sequence[_Word]) -> bool:
        """True when words after one of electricity tell of no appliance: batteries ("rechargeable cells"), and what is
        of another kind ("cordless nail cartridges")."""
        words = [word.text for word in run]
        last = {words[-1], singular(words[-1])}
        cells = (
            name for item in self.knowledge.items.values() if item.stream == "battery_bin" for name in _names(item)
        )
        if any(last & set(name) for name in cells) or matching.candidates(self.knowledge, words)[0]:
            return True
        terms = [term for word in words for term in (word, singular(word)) if term in self.knowledge.terms]
        return any(item.stream not in APPLIANCES for term in terms for item in self.knowledge.named(term))

    # --- where a head stands, and what is before it ---

    def _korean(self, n: int, word: _Word, taken: int) -> Span | None:
        for length in self._bare(word.text):
            if said := self._head_at_end(word.text[:length]):
                return self._compound(n, word, word.start + length - len(said), said, taken)
        return None

    def _bare(self, text: str) -> Iterator[int]:
        """Lengths of a written word with fewer and fewer particles: the 이 of 걸이 is none."""
        yield len(text)
        yield from (cut for cut in range(len(text) - 1, 0, -1) if PARTICLES.fullmatch(text, cut))

    def _head_at_end(self, text: str) -> str:
        heads = self.knowledge.lexicon.heads
        lengths = range(min(len(text), heads.longest), 0, -1)
        return next((text[-many:] for many in lengths if text[-many:] in heads.by_word), "")

    def _english(self, n: int, word: _Word, taken: int) -> Span | None:
        heads = self.knowledge.lexicon.heads.by_word
        said = next(
            (form for form in (word.text, singular(word.text), word.text.removesuffix("es")) if form in heads), ""
        )
        return self._compound(n, word, word.start, said, taken) if said else None

    def _compound(self, n: int, word: _Word, place: int, said: str, taken: int) -> Span | None:
        head, end = (
            self.knowledge.lexicon.heads.by_word[said],
            place + (len(said) if is_hangul(said[0]) else len(word.text)),
        )
        if any(noun.start < place < noun.end or (noun.start <= place and noun.end > end) for noun in self.nouns):
            return None  # a name of its own
        inside = self.squashed.text[word.start : place]
        if head.bound and (len(inside) < LEAST or not self._of_nouns(word.start, place)):
            return None
        if inside in self.knowledge.lexicon.heads.plain or (inside and not self._parts_at(word, place, end)):
            return None
        first = self._before(n, place, said, taken)
        words = [one.text for one in first] + ([inside] if inside else [])
        start = first[0].start if first else word.start
        if not words or self._keeps(start, place, words) or self._hurts(start, place, end) or self._names_hazard(words):
            return None
        if (head.holds and self._holds_unknown(start, place, words)) or (head.generic and self._passive(start, place)):
            return None
        item = self._item(head, words, self._in_brackets(end))
        if not item:
            return None
        return Span(start, end, compound(item, said))

    def _parts_at(self, word: _Word, place: int, end: int) -> bool:
        """True when a written word may fall apart into a first part and a head: a 플라스틱 has no 스틱."""
        if end - place == 1:
            return place - word.start >= LEAST and self._split(place, end)
        return place - word.start not in inside_nouns(word.text)

    def _of_nouns(self, start: int, place: int) -> bool:
        """True when the dictionary has each word up to a place, and none of them names a thing: of these no machine is
        called after."""
        parts = [token for token in self.tokens if start <= token.start < place]
        nouns = all(token.tags[-1] in ("NNG", "NNP", "SL", "XR") for token in parts)
        return nouns and bool(parts) and parts[-1].end == place and parts[-1].surface not in self.knowledge.terms

    def _split(self, place: int, end: int) -> bool:
        """True when the dictionary has a noun of its own from one place to another, after another noun."""
        before = self._ends.get(place)
        token = self._ends.get(end)
        noun = token is not None and token.start == place and token.tags[-1] in ("NNG", "XSN", "NNB", "NNBC")
        return noun and before is not None and before.tags[-1] in ("NNG", "NNP", "SL", "XR", "XSN", "UNKNOWN")

    def _before(self, n: int, place: int, said: str, taken: int) -> list[_Word]:
        """The written words before a head that tell what it is of."""
        head, inside = self.knowledge.lexicon.heads.by_word[said], self._words[n].start < place
        found: list[_Word] = []
        for k in range(n - 1, max(-1, n - 1 - FIRST), -1):
            word, following = self._words[k], self._words[k + 1]
            if word.start < taken or any(word.end <= sign <= following.start for sign in self._signs):
                break
            if not self._tells(word) or (found and not self._unknown(word) and not self._of_material(word.text)):
                break
            known = not self._unknown(word) and not self._of_material(word.text)
            told = place + len(said) < self._words[n].end and said in self.knowledge.lexicon.korean.parts
            if known and (inside or told or (head.alone and not self._appliance(word))):
                break
            if not self._unknown(word) and self._listed(word):
                break
            found.insert(0, word)
        return found

    def _tells(self, word: _Word) -> bool:
        """True when a written word may be the first part of a compound: a noun without a particle."""
        lexicon, text = self.knowledge.lexicon, word.text
        if text in lexicon.heads.plain or text in self.knowledge.no_things or text.isdigit():
            return False
        if not is_hangul(text[0]):
            function = text in ENGLISH_FUNCTION_WORDS and text not in lexicon.heads.powered
            verb = text in lexicon.english.has | lexicon.english.into | lexicon.english.buy | lexicon.english.excluded
            return len(text) > 2 and not function and not verb and not text.endswith(("ing", "ed"))
        korean = lexicon.korean
        if text in korean.states | korean.events | korean.times or text.startswith(tuple(korean.excluded)):
            return False
        last = self._ends.get(word.end)
        return last is not None and last.tags[-1].startswith(FIRST_TAGS) and not last.predicate

    def _unknown(self, word: _Word) -> bool:
        return not any(noun.start < word.end and word.start < noun.end for noun in self.nouns)

    def _appliance(self, word: _Word) -> bool:
        """True when a known thing before a head has parts of that kind: the 선반 of a 냉장고."""
        items = [item for noun in self.nouns if noun.end == word.end for item in self.knowledge.named(noun.term)]
        return len(self.nouns) <= 2 and any(item.stream in APPLIANCES for item in items)

    def _listed(self, word: _Word) -> bool:
        """True when a known thing before a head is one of several that stand side by side."""
        if not is_hangul(word.text[0]):
            return word.text.endswith("s") and not word.text.endswith("ss")
        return len(self.nouns) > 2 and not self.squashed.breaks

    def _hurts(self, start: int, place: int, end: int) -> bool:
        """True when something that may hurt somebody is told in the clause of a compound, whatever stands between: not
        by the head from a place on."""
        breaks = self.squashed.breaks
        begins = max((place for place in breaks if place <= start), default=0)
        ends = min((place for place in breaks if place >= end), default=len(self.squashed.text))
        named = [noun for noun in self.nouns if noun.start < ends and begins < noun.end]
        named = [noun for noun in named if noun.start < place or noun.end > end]
        if any(self.knowledge.dangerous(noun.term) for noun in named):
            return True
        words = [word.text for word in self._words if begins <= word.start < ends and word.text not in self._materials]
        return self._names_hazard(words)

    def _names_hazard(self, words: Sequence[str]) -> bool:
        """True when a word is one of the hazards, without its particles and plural, or holds one of two syllables."""
        hazards, said = self.knowledge.lexicon.heads.hazards, "".join(words)
        for word in words:
            forms = (word[:cut] for cut in self._bare(word)) if is_hangul(word[0]) else (word, singular(word))
            if not hazards.isdisjoint(forms):
                return True
        return any(len(one) > 1 and is_hangul(one[0]) and one in said for one in hazards)

    @cached_property
    def _materials(self) -> frozenset[str]:
        return frozenset().union(*self.knowledge.goods_of.values())

    def _keeps(self, start: int, end: int, words: Sequence[str]) -> bool:
        """True when what stands before a head has its own warning, or is a misspelt name of what hurts somebody."""
        words = [word for word in words if word not in self._materials]
        if not words:
            return False
        if any(self.knowledge.warned(noun.term) for noun in self._within(start, end)):
            return True
        guesses = filter(None, (matching.closest(self.knowledge, word, alone=True) for word in words))
        return any(map(self.knowledge.dangerous, guesses)) or self._holds_danger("".join(words))

    def _within(self, start: int, end: int) -> list[Span]:
        return [noun for noun in self.nouns if noun.start < end and start < noun.end]

    def _holds_unknown(self, start: int, end: int, words: Sequence[str]) -> bool:
        """True when something is still in a container, and it is not known to be food."""
        left, text = self.knowledge.lexicon.heads.left, self.squashed.text
        situations = self.knowledge.situations_of({phrase.term for phrase in self.phrases})
        told = any(one.id in LEFT for one in situations) or any(word.text in left for word in self._words)
        if not told and not any(is_hangul(one[0]) and one in text for one in left):
            return False
        spans = self._within(start, end)
        edible = all(self.knowledge.edible(noun.term) for noun in spans)
        covered = sum(min(noun.end, end) - max(noun.start, start) for noun in spans)
        unknown = sum(map(len, words)) - sum(len(word) for word in words if word in self._materials)
        return not (spans and edible and covered >= unknown)

    def _passive(self, start: int, end: int) -> bool:
        """True when a thing before a device of no kind does not run on electricity: an "임플란트 장치" is none."""
        things = [noun for noun in self._within(start, end) if noun.term not in self._materials]
        items = [item for noun in things for item in self.knowledge.named(noun.term)]
        return any(item.stream not in APPLIANCES for item in items)

    def _holds_danger(self, said: str) -> bool:
        """True when letters of the first part name something dangerous: also within a word that is not known."""
        terms = self.knowledge.terms
        if not is_hangul(said[0]):
            return False
        parts = {said[one:other] for one in range(len(said)) for other in range(one + 2, min(len(said), one + 6) + 1)}
        return any(part in terms and self.knowledge.dangerous(part) for part in parts)

    # --- what the compound is ---

    def _in_brackets(self, end: int) -> str:
        """The words in brackets that follow a head: "쉐이크 통(종이 원통)"."""
        return next((self.squashed.text[one:other] for one, other in self.squashed.asides if one == end), "")

    def _item(self, head: Head, words: Sequence[str], after: str) -> str:
        heads = self.knowledge.lexicon.heads
        if any(word in heads.powered for word in words) or any(
            words[-1].startswith(one) for one in heads.powered if is_hangul(one[0])
        ):
            return head.powered
        material = next(filter(None, map(self._of_material, (*reversed(words), after))), "")
        return (head.of.get(material) or heads.goods.get(material) or head.usual) if material else head.usual

    def _of_material(self, word: str) -> str:
        """The material that a word names; one of one syllable only where that is the whole word."""
        for material, said in self.knowledge.goods_of.items():
            if any(word == one or (len(one) > 1 and is_hangul(one[0]) and one in word) for one in said):
                return material
        return ""
