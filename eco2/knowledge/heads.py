"""Compounds whose first part no name knows, told by their head: a "후리카케 통" is a 통, a "spirulina jar" a jar.

The material that the first part names chooses the item, and so does electricity. A first part that may hurt somebody
keeps its own advice: nothing is made of a "농약 바구니"."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.words.index import ENGLISH_FUNCTION_WORDS, singular
from eco2.knowledge.words.lexicon import Head
from eco2.knowledge.words.text import PARTICLES, Span, Squashed, is_hangul
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
FIRST_TAGS = ("NNG", "NNP", "SL", "XR", "XSN", "XPN", "UNKNOWN", "SN", "NNBC")
"""Parts of speech that the first part of a compound ends with."""


def with_compounds(
    knowledge: Knowledge, squashed: Squashed, tokens: Sequence[Token], nouns: Sequence[Span]
) -> list[Span]:
    """The nouns, with those compounds as one whose head alone is known."""
    compounds = list(_Compounds(knowledge, squashed, tokens, nouns).found())
    kept = [noun for noun in nouns if not any(one.start <= noun.start and noun.end <= one.end for one in compounds)]
    apart = [one for one in compounds if not any(noun.start < one.end and one.start < noun.end for noun in kept)]
    return (
        sorted([*kept, *apart], key=lambda span: span.start)
        if len(apart) == len(compounds)
        else _longest(kept, nouns, apart)
    )


def _longest(kept: Sequence[Span], nouns: Sequence[Span], apart: Sequence[Span]) -> list[Span]:
    """The nouns again that a compound would have taken which overlaps another one."""
    left = [noun for noun in nouns if noun in kept or not any(one.start <= noun.start < one.end for one in apart)]
    return sorted([*left, *apart], key=lambda span: span.start)


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
        if self._keeps(run[1].start, run[-1].end, words):
            return None
        return Span(word.start, run[-1].end, compound(POWERED, "machine"))

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
        if not words or self._keeps(first[0].start if first else word.start, place, words):
            return None
        item = self._item(head, words, self._in_brackets(end))
        if not item:
            return None
        return Span(first[0].start if first else word.start, end, compound(item, said))

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

    def _keeps(self, start: int, end: int, words: Sequence[str]) -> bool:
        """True when what stands before a head may hurt somebody, or is no thing."""
        hazards = self.knowledge.lexicon.heads.hazards
        materials = frozenset().union(*self.knowledge.goods_of.values())
        said = "".join(word for word in words if word not in materials)
        if not said:
            return False
        if any(word in hazards for word in words) or any(
            len(one) > 1 and is_hangul(one[0]) and one in said for one in hazards
        ):
            return True
        named = [noun for noun in self.nouns if noun.start < end and start < noun.end]
        return any(self.knowledge.dangerous(noun.term) for noun in named) or self._holds_danger(said)

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
