"""The part that each noun plays in an English sentence, told from the words before it and the nouns around it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from eco2.knowledge.words.korean import Part
from eco2.knowledge.words.lexicon import English
from eco2.knowledge.words.text import Span, Squashed
from eco2.knowledge.words.tokens import Token, edges_of, plain

SUBJECTS = frozenset(
    ("i", "you", "we", "they", "to", "should", "must", "please", "dont", "cant", "wont", "could", "would")
)
"""Before a word that is a verb here: "how do I book"."""
USERS = SUBJECTS | {"was", "were", "is", "are", "it", "that", "which", "been", "be"}
"""Before "used" as a verb; elsewhere it tells of what state a thing is."""
KINDS = frozenset(("kind", "type", "sort", "version", "one", "flavor", "flavour"))
LEFTOVER = frozenset(("still", "left", "stuck", "residue", "dried"))
STATES = frozenset(("won", "doesn", "isn", "didn")) | frozenset(
    ("cant", "wont", "doesnt", "isnt", "already", "gone", "missing", "removed", "stuck", "off", "out", "still", "not")
)
"""After a part, also behind a comma, what is told of it: "lid already gone"."""
ASKED_AS = frozenset(
    ("is", "are", "as", "it", "count", "counts", "considered", "or", "this", "that", "with", "goes", "go")
)
HEAPS = frozenset(("full", "kind", "pair", "couple", "lot", "lots", "tons", "bunch", "rid", "top"))
"""Before an "of" that tells nothing of a container."""
OWN, OWNERS = frozenset(("have", "had", "got")), frozenset(("i", "we", "ive", "weve", "theres", "still", "also", "now"))
SHAPED = frozenset(("size", "sized", "shaped", "style"))
WASTE = frozenset(("waste", "trash", "rubbish", "garbage"))
COLOURS = frozenset(("orange", "peach", "olive", "cream"))
TURNED = frozenset(("still", "is", "its", "turned", "stained", "was", "went"))
IS = frozenset(("is", "was", "are", "were", "wont", "cant", "doesnt", "has"))
DUMMIES = frozenset(("thing", "things", "stuff", "something"))
QUESTIONS = frozenset(("is", "are", "can", "does", "do", "isnt", "arent", "so"))
LOOK_BACK = 4

CAN = re.compile(
    r"\bcan(?:'t|not)?\s+(?=(?:i|you|we|they|it|he|she|this|that|these|those|be|the|my|an?|your|our|one|some\w*|any\w*|people)\b)|"
    r"(?P<start>^|[.?!,])\s*can\s+(?!of\b|opener|lid)|\b(?P<who>that|what|how|where|which|they|i|you|we|it|\w+s)\s+can\b(?!s)",
    re.IGNORECASE,
)
"""The verb "can", which is no thing."""
BIN = re.compile(
    r"\b(?:(?:trash|garbage|rubbish|waste|recycling|food waste)[ -]?(?:can|bin|box|bag|chute)|"
    r"(?:clothes|clothing|donation)[ -]?bin)s?\b",
    re.IGNORECASE,
)


def prepared(text: str) -> str:
    """The sentence without verbs that look like things."""
    text = re.sub(r"\bcan(?:'t|not)\b", "cant", text, flags=re.IGNORECASE)
    if BIN.sub("", text).strip():
        text = BIN.sub("the bin", text)
    return CAN.sub(r"\g<start>\g<who> ", text)


@dataclass(frozen=True, eq=False)
class Sentence:
    squashed: Squashed
    tokens: Sequence[Token]
    things: Sequence[Span]
    words: English
    dangerous: frozenset[Span] = frozenset()
    classes: frozenset[str] = frozenset()
    materials: frozenset[str] = frozenset()

    @cached_property
    def _signs(self) -> frozenset[int]:
        brackets = {place for aside in self.squashed.asides for place in aside}
        return self.squashed.breaks | self.squashed.stops | brackets

    @cached_property
    def _edges(self) -> list[tuple[int, int]]:
        return edges_of(self.tokens, self.things)

    def parts(self) -> list[Part]:
        found: list[Part] = ["main"] * len(self.things)
        for n in reversed(range(len(self.things))):
            found[n] = self._part(n, found)
        for n in range(1, len(found)):
            if found[n] == "main" and self._asked_as_kind(n, found):
                found[n] = "option"
        return found

    def is_verb(self, n: int) -> bool:
        first, end = self._edges[n]
        before = self.tokens[first - 1].surface if first else ""
        return end - first == 1 and before in SUBJECTS and not self._parted(first)

    def _parted(self, k: int) -> bool:
        return self.tokens[k].start in self._signs

    def _before(self, n: int) -> str:
        """The first word before a thing that is none of its modifiers."""
        k = self._edges[n][0]
        taken = {place for first, end in self._edges for place in range(first, end)}
        unknown = 0
        for _ in range(LOOK_BACK + 1):
            if k == 0 or self._parted(k) or k - 1 in taken:
                return ""
            k -= 1
            word = self.tokens[k].surface
            earlier = self.tokens[k - 1].surface if k else ""
            if (word == "used" and earlier not in USERS) or (word == "got" and earlier in ("ve", "have", "has")):
                continue
            if word == "of" and k and self.tokens[k - 1].surface in HEAPS | self.words.heaps:
                continue
            if word == "to" and unknown:
                return ""  # before a verb: "to ditch a lamp"
            if word in OWN and earlier in OWNERS:
                return ""  # "I have cardboard" tells what is there
            if word in self.words.has | self.words.into | self.words.excluded | self.words.buy | {"than", "and", "or"}:
                return word
            unknown += word not in self.words.modifiers and not word[0].isdigit()
            if unknown > 1:
                return ""
        return ""

    def _same_sentence(self, one: int, other: int) -> bool:
        places = range(self._edges[one][1], self._edges[other][0] + 1)
        return not any(self.tokens[k].start in self.squashed.stops for k in places if k < len(self.tokens))

    def _adjacent(self, n: int) -> bool:
        if n + 1 >= len(self.things):
            return False
        first = self._edges[n + 1][0]
        return first == self._edges[n][1] and not self._parted(first)

    def _in_list(self, n: int) -> bool:
        start = n
        while start and self._adjacent(start - 1):
            start -= 1
        end = n
        while self._adjacent(end):
            end += 1
        return end - start >= 2

    def _part(self, n: int, found: Sequence[Part]) -> Part:
        _, end = self._edges[n]
        thing = self.things[n]
        if self.is_verb(n):
            return "not"
        if n and self.squashed.aside(thing):
            return "beside" if thing in self.dangerous else "content"
        if self._adjacent(n):
            return self._compound(n)
        compound = n > 0 and self._adjacent(n - 1) and not self._in_list(n)
        before = self._before(n - 1 if compound else n)
        following = self.tokens[end].surface if end < len(self.tokens) and not self._parted(end) else ""
        earlier = [m for m in range(n) if self._same_sentence(m, n)]
        later = any(part == "main" for part in found[n + 1 :])
        if before in self.words.excluded or before == "than":
            return "not"
        if before == "with" and thing.term in self.classes and n:
            return "into"  # "can it go with the cans?"
        if before in self.words.has | self.words.into and thing not in self.dangerous and self._of_a_dummy(n):
            return "not"
        if following in SHAPED and later:
            return "content"  # "a thermos size can"
        if before in self.words.into and (earlier or later):
            return "main" if self._arrived(n) or self._still_in(n) else "into"
        if before == "of" and n and (plain(self.things[n - 1].term) in self.words.heaps or thing in self.dangerous):
            return "main"
        if (
            following == "of"
            and n + 1 < len(found)
            and found[n + 1] == "main"
            and plain(self.tokens[end - 1].surface) in self.words.heaps | self.words.containers
        ):
            return "content"
        if following == "of" and earlier and self.squashed.text.startswith(("it", "them"), self.tokens[end].end):
            return "content"
        if before in self.words.has and earlier:
            return "content"
        if before in self.words.has and later and thing.term in self.words.places:
            return "from"
        if before in self.words.buy and later:
            return "bought"
        if earlier and following in KINDS:
            return "content"
        last = self.tokens[end - 1].surface
        told = thing.term in self.words.soils or thing.term in self.words.parts
        if earlier and told and before not in ("and", "or") and not self._signed(n) and following:
            return "content"
        if earlier and (told or last in self.words.parts) and following in STATES:
            return "content"
        if earlier and thing.term in COLOURS and self.tokens[self._edges[n][0] - 1].surface in TURNED:
            return "content"
        if earlier and thing.term in self.words.parts and following in IS and self._the(n):
            return "content"  # "…, the screw is stripped"
        if earlier and thing.term in self.materials and self._alone(n) and self._only_material(n, found):
            return "content"  # "a mug, ceramic"
        return "main"

    def _the(self, n: int) -> bool:
        first = self._edges[n][0]
        return first > 0 and self.tokens[first - 1].surface == "the"

    def _alone(self, n: int) -> bool:
        """True when nothing else stands between the signs around a thing."""
        first, end = self._edges[n]
        return self._parted(first) and (end == len(self.tokens) or self._parted(end))

    def _only_material(self, n: int, found: Sequence[Part]) -> bool:
        """True when one material is told of the one thing before it."""
        others = [m for m, part in enumerate(found) if m != n and part == "main"]
        return len(others) == 1 and others[0] < n and self.things[others[0]].term not in self.materials

    def _of_a_dummy(self, n: int) -> bool:
        """True when where it is is all that is told of something: "an old thing from my closet"."""
        return len(self.things) == 1 and any(token.surface in DUMMIES for token in self.tokens[: self._edges[n][0]])

    def _signed(self, n: int) -> bool:
        """True when a sign parts a thing from the one before."""
        return any(self._parted(k) for k in range(self._edges[n - 1][1], self._edges[n][0] + 1))

    def _arrived(self, n: int) -> bool:
        """True when something came in a thing: "it came in a box"."""
        before = self.tokens[max(0, self._edges[n][0] - LOOK_BACK) : self._edges[n][0]]
        return any(token.surface in self.words.arrives for token in before)

    def _still_in(self, n: int) -> bool:
        """True for a container that something is still in: "there is still jam in the jar"."""
        first, end = self._edges[n]
        held = self.tokens[end - 1].surface in self.words.containers
        return held and any(token.surface in LEFTOVER for token in self.tokens[:first])

    def _words(self, n: int) -> int:
        first, end = self._edges[n]
        return end - first

    def _compound(self, n: int) -> Part:
        """The first of two nouns side by side: "phone battery" is about the battery, "lamps batteries" is a list."""
        one, other = self.things[n], self.things[n + 1]
        after = self._edges[n + 1][1]
        chosen = after < len(self.tokens) and self.tokens[after].surface == "or" and not self._parted(after)
        if other.term in self.classes and (chosen or self.tokens[0].surface in QUESTIONS):
            return "main"
        of_it = (
            other.term in self.words.containers
            or self.tokens[self._edges[n + 1][1] - 1].surface in self.words.containers
        )
        if self._words(n) > 1 and self._words(n + 1) > 1:
            return "main"  # "tuna can beer can"
        plural = self.squashed.text[one.start : one.end + 1].endswith("s") and not one.term.endswith("ss")
        if one.term in self.materials and not (one in self.dangerous and self._in_list(n)):
            return "content"
        if one in self.dangerous and (not of_it or other in self.dangerous or plural or self._in_list(n)):
            return "main"
        if self._in_list(n) and not of_it:
            return "main"
        return "main" if plural and not of_it else "content"

    def _asked_as_kind(self, n: int, found: Sequence[Part]) -> bool:
        """Plastic or paper, as what a thing before it may be sorted as."""
        first, end = self._edges[n]
        earlier = any(part == "main" and self.things[m].term not in self.classes for m, part in enumerate(found[:n]))
        if self.things[n].term not in self.classes or not earlier or first == 0:
            return False
        following = self.tokens[end].surface if end < len(self.tokens) and not self._parted(end) else ""
        if following == "or" or self.tokens[first - 1].surface == "or":
            return True
        if end == len(self.tokens) and end - first > 1 and self.tokens[end - 1].surface in WASTE:
            return True  # "…, egg shells - food waste?"
        if self._edges[n - 1][1] == first and self.tokens[0].surface in QUESTIONS:
            return True
        return self.tokens[first - 1].surface in ASKED_AS | {"a", "the"} and following in (
            "",
            "or",
            "waste",
            "recycling",
            "bin",
            "then",
        )
