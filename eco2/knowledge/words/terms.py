"""Names of things in a sentence, found in step with its tokens, so that 책임 holds no book."""

from collections.abc import Container, Iterator, Mapping, Sequence

from eco2.knowledge.words.text import PARTICLES, PLURAL, Span, Squashed, is_hangul
from eco2.knowledge.words.tokens import Token

HEAD = 2
"""Syllables of a name that may be the head of a compound which is not known: 가죽벨트, but no 통 in 소통."""
APART = 3
"""Syllables of a name that may stand across the tokens: these may be wrong about a name that they do not know."""
BEFORE_SHORT = ("ETM", "MM", "JX", "JC", "JKB", "EC", "VCP")
"""Before a name of one syllable within a written word."""
ADJECTIVES = ("폐", "빈", "헌", "큰", "새")
"""Before a name, written as one with it."""
FOLLOWING = ("J", "XSN", "NNB", "NR", "SN", "VC", "VV", "VA", "VX", "XS", "MA", "MM", "E", "NP", "IC")
INSIDE = frozenset(
    (
        "속",
        "안",
        "위",
        "겉",
        "밑",
        "쪽",
        "류",
        "분리",
        "수거",
        "처리",
        "배출",
        "버림",
        "재활용",
        "폐기",
        "때",
        "배송",
        "주문",
        "구매",
        "뭉치",
        "더미",
        "묶음",
        "다발",
        "꾸러미",
        "조각",
    )
)


def spans(
    squashed: Squashed,
    tokens: Sequence[Token],
    terms: Container[str],
    lengths: Mapping[str, Sequence[int]],
    *,
    signed: Container[str] = (),
    loose: bool = False,
) -> Iterator[Span]:
    """Every place where one of the normalized terms stands as a noun.

    `lengths`: of the terms that begin with a letter. `signed`: those that are written with signs. `loose`: also long
    ones that more is written to without a space."""
    text = squashed.text
    at = {token.start: token for token in tokens}
    ends = {token.end: token for token in tokens}

    def known(start: int) -> bool:
        return any(
            text[start : start + length] in terms for length in lengths.get(text[start : start + 1], ()) if length > 1
        )

    def parted(start: int, end: int) -> bool:
        """True when a blank stands inside: "기저귀 비닐우산" is no 기저귀비닐, "옷장 우산" no 장우산."""
        return any(place in squashed.ends for place in range(start + 1, end))

    def begins(start: int, term: str) -> bool:
        first = at.get(start)
        if first is not None and first.tags[0] in ("VV", "VX") and len(term) < APART and start + len(term) not in at:
            following = at.get(start + len(term))
            verb = following is not None and following.tags[0] == "NNB"  # "드릴 수 없어요"
            return start in squashed.starts and start + len(term) in squashed.ends and not verb
        if start in squashed.starts:
            return True
        if start not in at or not is_hangul(term[0]):
            return (
                len(term) >= APART
                and is_hangul(term[0])
                and is_hangul(text[start - 1])
                and not parted(start, start + APART)
            )
        before = ends.get(start)
        if len(term) == 1 and (before is None or before.tags[-1] not in BEFORE_SHORT):
            return False
        compound = (
            before is not None and before.tags[-1] in ("NNG", "NNP", "XR", "SL") and before.surface not in ADJECTIVES
        )
        return (
            not compound
            or len(term) >= HEAD
            or any(text[s:start] in terms for s in range(max(0, start - 8), start - 1))
        )

    def stops(end: int, term: str, start: int) -> bool:
        if not is_hangul(term[-1]):
            return PLURAL.fullmatch(text, end, squashed.word_end(end)) is not None
        if len(term) == 1:
            token = at.get(start)
            alone = start in squashed.starts and end in squashed.ends
            if not alone and (
                token is None
                or token.end != end
                or token.tags[0] in ("MM", "MAG", "JKS", "JX", "EC", "ETM", "EF", "VV", "VCP")
            ):
                return False
        following = at.get(end)
        if following is not None and following.tags[0] == "NNB" and following.surface == "수":
            return False  # the verb of "드릴 수 없어요"
        if end in squashed.ends:
            return True
        if following is None:
            more = (
                len(term) >= APART
                and not parted(start, end)
                and any(
                    length >= APART and text[end : end + length] in terms
                    for length in lengths.get(text[end : end + 1], ())
                )
            )
            particle = PARTICLES.fullmatch(text, end, squashed.word_end(end)) is not None
            return more or particle or (loose and len(term) > HEAD)
        if following.tags[0].startswith(FOLLOWING) and following.surface not in ("통", "병", "팩", "장", "갑", "곽"):
            return True
        return following.surface in INSIDE or known(end) or (loose and len(term) > HEAD)

    brackets = {place for aside in squashed.asides for place in aside}
    signs = (squashed.breaks | squashed.stops | brackets) - squashed.dots
    for start, opening in enumerate(text):
        for length in lengths.get(opening, ()):
            term = text[start : start + length]
            if term not in terms or (term not in signed and any(start < place < start + len(term) for place in signs)):
                continue
            if begins(start, term) and stops(start + len(term), term, start):
                yield Span(start, start + len(term), term)
