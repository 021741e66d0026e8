"""Walking over the tokens of a Korean sentence: the particles after a noun, the verb of its clause, and the noun that a
verb with an adnominal ending belongs to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from eco2.knowledge.words.lexicon import Korean
from eco2.knowledge.words.text import Span, Squashed
from eco2.knowledge.words.tokens import Token, edges_of

AND = frozenset(("이랑", "랑", "하고", "와", "과", "이나", "나", "및", "또는", "이며", "하구", "그리고"))
CHAINED = (
    "아",
    "어",
    "여",
    "워",
    "와",
    "해",
    "다",
    "게",
    "지",
    "려",
    "라",
    "싸",
    "써",
    "내",
    "둬",
    "쳐",
    "져",
    "겨",
    "려",
)
"""Last syllables of endings that tie a verb to the next one in one clause: "먹다 남은", "꽂혀 있는"."""
AT, FROM, BY = ("에", "에다", "에다가", "에게"), ("에서", "에서부터", "한테서"), ("로", "으로")
NUMBERS = frozenset(("한", "두", "세", "네", "몇", "여러", "하나", "둘", "셋", "넷", "다섯", "열", "반", "스무"))
INSIDE = frozenset(
    ("속", "안", "위", "겉", "밑", "옆", "사이", "뒤", "앞", "바닥", "안쪽", "겉면", "표면", "아래", "구석", "내부")
)
DUMMIES = frozenset(("거", "것", "게", "걸", "건", "데", "채", "줄", "적", "꺼", "놈", "애"))

TRACES = frozenset(("튀", "묻", "묻히", "배", "물들", "닦", "바르", "칠하"))
CLEARED = frozenset(("치우", "엎", "뒤집", "털", "뒤엎"))
WHILE = (
    "는데",
    "ㄴ데",
    "은데",
    "었는데",
    "았는데",
    "다가",
    "다",
    "니까",
    "더니",
    "면서",
    "고",
    "는데요",
    "었더니",
    "았더니",
)
"""Endings of a clause that only tells what was done when the things of the next one turned up."""
WENT = re.compile(r"([가-힣])(?:고요?|는데요?|지만|으니|구요?)$")
PAST = 20
"""Number of the last consonant ㅆ."""
KEPT = frozenset(("내놓", "내", "넣", "분리하", "어쩌", "어떡하"))
BODIES = frozenset(("본체", "몸체", "몸통", "기계"))
ANAPHORS = frozenset(("이", "그", "저"))
SIDES = frozenset(("겉", "안", "속", "밖", "바깥", "안쪽", "바깥쪽", "겉면"))
EMPTIES = frozenset(("빈병", "공병", "빈통", "빈캔", "빈용기"))
WRAPPED = frozenset(("싸", "감싸", "포장하", "말"))
GOODS = frozenset(("점토", "바닥재", "찰흙", "지점토", "털실", "펠트", "장판", "시멘트", "합판", "각목"))
"""Things that others are made of."""
ONLY = "만"


@dataclass(frozen=True)
class Clause:
    """A verb with the verbs tied to it. `ending`: ETM, EC, EF or "" where the text stops; `end`: the token after it."""

    stems: tuple[str, ...]
    ending: str
    form: str
    end: int
    copula: bool


@dataclass(frozen=True, eq=False)
class Walk:
    """`things`: the spans of nouns that name something, in order. `dangerous`: those of them that may hurt people."""

    squashed: Squashed
    tokens: Sequence[Token]
    things: Sequence[Span]
    words: Korean
    dangerous: frozenset[Span] = frozenset()
    classes: frozenset[str] = frozenset()

    @cached_property
    def _ends(self) -> frozenset[int]:
        return frozenset(token.end for token in self.tokens)

    @cached_property
    def _signs(self) -> frozenset[int]:
        brackets = {place for aside in self.squashed.asides for place in aside}
        return self.squashed.breaks | self.squashed.stops | brackets

    @cached_property
    def _edges(self) -> list[tuple[int, int]]:
        """Per thing: its first token, and the one after its last."""
        return edges_of(self.tokens, self.things)

    @cached_property
    def _starts(self) -> dict[int, int]:
        return {first: n for n, (first, _) in enumerate(self._edges)}

    def tail(self, n: int) -> tuple[str, int]:
        """The particles after a thing, without counters and "-들", and the token after them."""
        k = self._edges[n][1]
        k = self._after_counters(k)
        k = self._after_places(k)
        particles = ""
        while k < len(self.tokens) and self.tokens[k].particle and not self._written(k):
            particles += self.tokens[k].surface
            k += 1
        if not particles and k < len(self.tokens) and self._is_and(k):
            return self.tokens[k].surface + ("고" if self.tokens[k].surface == "하" else ""), k + 1 + (
                self.tokens[k].surface == "하"
            )
        return particles, k

    def _after_places(self, k: int) -> int:
        """The token after words like "inside", and after boxes and bags."""
        while k < len(self.tokens) and k not in self._starts and not self._parted(k):
            box = self._box(k)
            if not self._is_inside(k) and not box:
                break
            end = self.tokens[k].start + len(box or self.tokens[k].surface)
            while k < len(self.tokens) and self.tokens[k].start < end:
                k += 1
        return k

    def inside(self, n: int) -> bool:
        """True when a word like "inside" follows a thing: "지갑 속 영수증"."""
        k = self._edges[n][1]
        return k < len(self.tokens) and k not in self._starts and not self._parted(k) and self._is_inside(k)

    def _is_inside(self, k: int) -> bool:
        """안 may also be "not": before a thing it never is."""
        return self.tokens[k].surface in INSIDE and (self.tokens[k].noun or k + 1 in self._starts)

    def example(self, n: int) -> bool:
        """True when a thing is an example of the next one: "비타민 같은 영양제"."""
        k = self._edges[n][1]
        while k < len(self.tokens) and k not in self._starts and self.tokens[k].has("SN", "NR"):
            k += 1
        like = k < len(self.tokens) and self.tokens[k].stem == "같" and not self._parted(k)
        return like and bool({k + 1, k + 2} & self._starts.keys())

    def _box(self, k: int) -> str:
        """The box, bag or corner for things of a kind that begins at a token."""
        start = self.tokens[k].start
        fits = [word for word in self.words.boxes if self.squashed.text.startswith(word, start)]
        longest = max(fits, key=len, default="")
        return longest if start + len(longest) in self._ends else ""

    def _boxed(self, n: int) -> bool:
        """True when a thing only names a box or bag for its kind: "형광등 수거함"."""
        k = self._after_counters(self._edges[n][1])
        return k < len(self.tokens) and k not in self._starts and not self._parted(k) and bool(self._box(k))

    def _is_and(self, k: int) -> bool:
        token = self.tokens[k]
        if token.surface == "하" and k + 1 < len(self.tokens) and self.tokens[k + 1].surface in ("고", "구"):
            return not self._written(k)
        return token.surface in ("그리고", "및", "또는")

    def _after_counters(self, k: int) -> int:
        while k < len(self.tokens):
            token = self.tokens[k]
            number = token.has("SN", "NR") or token.surface in NUMBERS
            if (
                number
                or token.has("XSN", "NNBC")
                or token.surface in ("등", "정도", "이상", "몇", "같은", "같은거", "따위", "여러")
            ):
                if token.has("XSN", "NNBC") and token.start in {span.start for span in self.things}:
                    return k
                k += 1
            else:
                return k
        return k

    def _written(self, k: int) -> bool:
        return self.tokens[k].start in self.squashed.starts

    def _parted(self, k: int) -> bool:
        """A sign of a list or the end of a sentence before a token."""
        return self.tokens[k].start in self._signs

    def clause(self, k: int) -> Clause | None:
        """The first verb from a token on, before the next thing or sign."""
        for start in range(k, len(self.tokens)):
            token = self.tokens[start]
            if start > k and (start in self._starts or self._parted(start)):
                return None
            if start in self._starts:
                return None
            if token.predicate:
                return self._clause_at(start)
        return None

    def _clause_at(self, start: int) -> Clause:
        stems: list[str] = []
        k, ending, form = start, "", ""
        copula = self.tokens[start].has("VCP", "VCN")
        while k < len(self.tokens) and not (k > start and self._parted(k)):
            token = self.tokens[k]
            if token.predicate:
                stems.append(token.stem)
            elif not (token.tags[0].startswith("E") or token.surface == "요"):
                break
            ends = [tag for tag in token.tags if tag in ("ETM", "EC", "EF", "ETN")]
            k += 1
            if ends:
                ending, form = ends[-1], token.surface
                if ending != "EC" or not self._tied(token, k):
                    break
        return Clause(tuple(stems), ending, form, k, copula)

    def _tied(self, token: Token, k: int) -> bool:
        following = self.tokens[k] if k < len(self.tokens) else None
        return (
            following is not None
            and following.predicate
            and not self._parted(k)
            and (token.surface.endswith(CHAINED) and not token.surface.endswith(("니까", "는데", "지만", "려고")))
        )

    def head(self, k: int) -> int | Literal["time", "dummy", "other"] | None:
        """The noun that an adnominal ending before a token belongs to: the number of a thing, or its kind."""
        while k < len(self.tokens):
            if k in self._starts:
                return self._starts[k]
            token = self.tokens[k]
            if self._parted(k) and not token.has("MM"):
                return None
            if token.surface in self.words.times:
                return "time"
            if token.tags[0] == "NNB" or token.surface in DUMMIES:
                return "dummy"
            following = self.tokens[k + 1] if k + 1 < len(self.tokens) else None
            modifier = token.tags[-1] in ("MM", "MAG", "ETM", "XPN", "NR", "SN") or (
                token.predicate and token.tags[-1] == "ETM"
            )
            verb = token.predicate and following is not None and "ETM" in following.tags
            compound = (
                token.noun
                and following is not None
                and (following.noun or k + 1 in self._starts or following.surface == "의")
            )
            if not (modifier or verb or compound or token.has("ETM") or token.surface == "의"):
                return "other" if token.noun or token.has("NP") else None
            k += 1
        return None

    def _adjacent(self, n: int) -> bool:
        """True when the next thing follows directly, without a sign."""
        if n + 1 >= len(self.things):
            return False
        first = self._edges[n + 1][0]
        between = self.tokens[self._edges[n][1] : first]
        return not self._parted(first) and all(token.surface == "의" for token in between)

    def _in_list(self, n: int) -> bool:
        """True when three things or more stand side by side."""
        start = n
        while start and self._adjacent(start - 1):
            start -= 1
        end = n
        while self._adjacent(end):
            end += 1
        return end - start >= 2
