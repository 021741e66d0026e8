"""Words before a colon that are only the heading of a list."""

from collections.abc import Container, Sequence

from eco2.knowledge.words.lexicon import Lexicon
from eco2.knowledge.words.text import Span, Squashed
from eco2.knowledge.words.tokens import Token

DISPOSAL = frozenset(
    (
        *("throw", "throwing", "toss", "tossing", "dispose", "disposing", "disposal", "discard", "discarding", "rid"),
        *("dump", "dumping", "recycle", "recycling", "bin", "trash"),
    )
)
TELLING = ("NNG", "NNP", "NNB", "XR", "VV", "SL")
"""Words besides the thing that a heading names: a thing alone before a colon is asked about itself."""


def heading(
    squashed: Squashed, tokens: Sequence[Token], nouns: Sequence[Span], lexicon: Lexicon, classes: Container[str]
) -> Span | None:
    """The only thing that the heading of a list names: the desk of "cleaning my desk: an old laptop, dead pens"."""
    start, head = squashed.heading
    inside = [span for span in nouns if start <= span.start and span.end <= head]
    follow = [span for span in nouns if span.start >= head and span.term not in classes]
    if len(inside) != 1 or len(follow) < 2:
        return None
    noun, states = inside[0], lexicon.korean.states
    before = start if squashed.text[start : noun.start] in states else noun.start
    words = [token for token in tokens if start <= token.start < before or noun.end <= token.start < head]
    if any(token.stem in lexicon.korean.verbs.dispose or token.surface in DISPOSAL for token in words):
        return None
    plain = lexicon.english.modifiers
    told = any(t.has(*TELLING) and t.surface not in plain and not t.surface.isdigit() for t in words)
    return noun if told else None
