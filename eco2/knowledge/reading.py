"""What a sentence asks about: the things it names, the situation that each is in, and guesses where none is named.

Words are found by the index of names and aliases first. What that does not know is tried as a compound ("딸기잼통"),
as a typing error (letters of Hangul, one or two apart), and last by the bigrams it shares with names. A word that is
not close enough to anything gives candidates to choose from, never an answer.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from eco2.knowledge import retrieval
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import Ambiguity, Item, Situation
from eco2.knowledge.text import PARTICLES, Span, Squashed, in_list, is_hangul, listed, normalize, preceded, squash

# What follows a noun that is not what the question is about.
NOT = re.compile(r"(?:은|는|이|가)?(?:말고|아니고|아니라|아닌|아니에요|아니구|빼고|제외|대신)")
PUT = r"(?:버려|버리|버릴|넣|부어|붓|부으|흘려|흘리|담|내놓|내도|내면|내야|섞|쏟|뿌려|태우)"
INTO = re.compile(rf"(?:에다가|에다|에|로|으로)(?:그냥|같이|함께|다|바로|막|몰래|다같이)?{PUT}")
FROM = re.compile(r"(?:에서|에|속에|안에)(?:나온|나오는|있던|꺼낸|뺀|떼낸|떼어낸|들어있던|딸려온)")
CONTENT = re.compile(
    r"(?:이|가|을|를|도)?(?:좀|조금|많이|다|잔뜩|살짝|심하게)?(?:묻은|묻어있는|담긴|담았던|담은|담아둔|"
    r"담겨있던|들어있던|들어있는|들었던|"
    r"들어간|든|들은|있는|있던|남은|남아있는|넣었던|싸던|쌌던|밴|배인|발린|붙은|붙어있는|달린|섞인|낀|채운|"
    r"넣은|넣어둔|싼|없는|안뗀|범벅된|범벅인)"
)
HOLDS = re.compile(r"(?:은|는)?(?:안|속|위|겉)?에(?:는)?(?:아직|좀|조금|많이|다|잔뜩|살짝)?$")
HELD = re.compile(r"(?:이|가|도|은)?(?:좀|조금|많이|다|잔뜩|살짝|아직|꽉)?(?:묻|남|들|있|붙|배|섞|끼|낀|찼|차|범벅|새)")
PART_OF = re.compile(r"의?")
PART = re.compile(
    r".*(?:뚜껑|라벨|상자|박스|봉지|봉투|통|병|캔|케이스|팩|용기|껍질|껍데기|뼈|심|망|필름|포장|포장재|포장지|"
    r"스티커|테이프|손잡이|"
    r"펌프|빨대|커버|컵|곽|갑|씨|찌꺼기|그릇|접시|파우치|튜브|장난감|인형|배터리|건전지|전구|리모컨|시계|옷|장갑)"
)
EN_NOT = re.compile(r"(?:not|insteadof|ratherthan|otherthan|except|isnt|arent)(?:a|an|the|my|for)?$")
EN_INTO = re.compile(r"(?:in|into|inside|down|to|onto|as|by|via)(?:the|a|an|my|our|your|regular|normal|same)?$")
EN_WITH = re.compile(
    r"(?:with|from|for|of|coveredin|fullof|containing|without|has|have|had|holding|through|on)"
    r"(?:a|an|the|some|its|my|it|old|all|no|there|dried|leftover|any|still){0,2}$"
)
EN_HELD = re.compile(
    r"(?:s|es)?(?:inside|stuck|leftin|soaked|stained|covered|attached|residue|isstill|arestill|stillin|left)"
)
MODAL_CAN = re.compile(
    r"\bcan(?:'t|not)?\s+(?=(?:i|you|we|they|it|he|she|this|that|these|those|be|go|the|my|an?|your|our|one|"
    r"some\w*|any\w*"
    r"|people)\b)|(?P<start>^|[.?!,])\s*can\s+(?!of\b|opener|lid)|\b(?P<who>that|what|how|where|which|they|i|"
    r"you|we|it)\s+can\b(?!s)",
    re.IGNORECASE,
)
CONTAINER_OF = re.compile(
    r"\b(bottle|can|box|bag|jar|tube|carton|pack|packet|tub|cup|tin|canister|pot|bowl|container|sachet|case|"
    r"lid|cap)s?"
    r" of (?:(?:some|the|my|old|used|expired|leftover) )?(\w+(?: \w+)?)",
    re.IGNORECASE,
)

MATERIALS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plastic": (("플라스틱", "프라스틱", "플라스택", "plastic"), ("plastic", "clear_pet")),
    "glass": (("유리", "glass"), ("glass_bottle", "bottle_return")),
    "paper": (("종이", "골판지", "paper", "cardboard"), ("paper_mixed", "paper_cardboard")),
    "metal": (("금속", "쇠", "철", "스텐", "스테인", "알루미늄", "metal", "steel", "tin", "aluminum", "aluminium"),
              ("metal_can", "scrap_metal")),
    "film": (("비닐", "film"), ("vinyl",)),
    "foam": (("스티로폼", "스치로폼", "styrofoam", "foam", "polystyrene"), ("foam",)),
    "ceramic": (("도자기", "사기", "세라믹", "ceramic", "china", "clay", "terracotta"), ()),
    "wood": (("나무", "원목", "목재", "wood", "wooden"), ()),
    "led": (("led", "엘이디"), ()),
    "clear": (("투명", "무색", "clear", "transparent"), ("clear_pet",)),
    "coloured": (("유색", "색깔", "색있", "초록", "갈색", "녹색", "파란", "coloured", "colored", "green", "brown"), ()),
    "gel": (("젤", "gel"), ()),
    "water": (("물", "water"), ()),
    "cotton": (("솜", "오리털", "두꺼운", "겨울", "padded", "thick"), ()),
    "liquid": (("물약", "시럽", "액체", "liquid", "syrup"), ()),
    "pills": (("알약", "가루", "pill", "tablet", "powder"), ()),
}  # fmt: skip
"""Words of a material or kind that tell the candidates of an ambiguous word apart: by their names, else by stream."""


@dataclass(frozen=True)
class Mention:
    """A thing that is asked about. `guessed`: the words it was found by, where these are no name of it."""

    subject: Item | Ambiguity
    span: Span
    situations: tuple[Situation, ...] = ()
    guessed: str = ""


@dataclass(frozen=True)
class Reading:
    """`candidates`: what may be meant where nothing is named. `material`: a material that is all that was told."""

    mentions: tuple[Mention, ...] = ()
    situations: tuple[Situation, ...] = ()
    candidates: tuple[Item, ...] = ()
    material: str = ""


def read(knowledge: Knowledge, text: str) -> Reading:
    squashed = squash(_prepared(text))
    found = knowledge.spans(squashed)
    nouns = [span for span in found if span.term in knowledge.terms]
    phrases = [span for span in found if span.term not in knowledge.terms]
    situations = tuple(knowledge.situations_of({span.term for span in phrases}))
    mentions = [_mention(knowledge, squashed, span) for span in _meant(knowledge, squashed, nouns)]
    mentions = _unique([*mentions, *_unknown_words(knowledge, squashed, found, mentions)])
    if not mentions:
        mentions, candidates = _guesses(knowledge, squashed, found)
        if not mentions:
            return Reading((), situations, candidates, _material(squashed))
    return Reading(tuple(_with_situations(knowledge, squashed, mentions, phrases)), situations)


def subjects(knowledge: Knowledge, text: str) -> list[Item | Ambiguity]:
    """The things that a sentence asks about, in order, each an item or the question that tells which one."""
    return [mention.subject for mention in read(knowledge, text).mentions]


def _prepared(text: str) -> str:
    """English verbs that look like things taken out, "bottle of shampoo" turned into "shampoo bottle"."""
    verbless = MODAL_CAN.sub(r"\g<start>\g<who> ", text.replace("’", "'"))
    return CONTAINER_OF.sub(r"\2 \1", verbless)


def _meant(knowledge: Knowledge, squashed: Squashed, nouns: Sequence[Span]) -> list[Span]:
    """The nouns that are asked about: not what they hold, where they are put, or what they are not.

    A word that could mean several items counts where no word is clear, or as part of a list: the lid of
    "생수병인데 뚜껑은요?" is no second thing, the bottle of "캔이랑 유리병" is one."""
    roles = {span: _role(knowledge, squashed, nouns, n) for n, span in enumerate(nouns)}
    for wanted in ("", "held", "from"):
        meant = [span for span in nouns if roles[span] == wanted]
        if meant:
            break
    else:
        return []
    together = listed(squashed, meant)
    clear = [span for span in meant if len(knowledge.terms[span.term]) == 1 or span in together]
    return clear or meant[:1]


def _role(knowledge: Knowledge, squashed: Squashed, nouns: Sequence[Span], n: int) -> str:
    """ "" for what is asked about, else "not", "into", "from" or "held"."""
    span, text = nouns[n], squashed.text
    if NOT.match(text, span.end) or preceded(squashed, span.start, EN_NOT):
        return "not"
    if INTO.match(text, span.end) or preceded(squashed, span.start, EN_INTO):
        return "into"
    if FROM.match(text, span.end):
        return "from"
    return "held" if _held(knowledge, squashed, nouns, n) else ""


def _held(knowledge: Knowledge, squashed: Squashed, nouns: Sequence[Span], n: int) -> bool:
    span, text = nouns[n], squashed.text
    previous = nouns[n - 1] if n else None
    following = nouns[n + 1] if n + 1 < len(nouns) else None
    if previous and preceded(squashed, span.start, EN_WITH):
        return True
    if not is_hangul(span.term[-1]):
        end = following.start if following else None
        joined = following is not None and text[span.end : end] == "" and end not in squashed.breaks
        return joined or (len(nouns) > 1 and EN_HELD.match(text, span.end) is not None)
    if following:
        modifies = CONTENT.match(text, span.end)
        if modifies and following.start - modifies.end() <= 4:
            return True
        between = text[span.end : following.start]
        parted = any(span.end <= place <= following.start for place in squashed.breaks)
        if PART_OF.fullmatch(between) and not parted and PART.fullmatch(following.term) and len(nouns) < 4:
            return len(knowledge.terms[following.term]) == 1
    if previous and len(knowledge.terms[span.term]) > 1 and PART.fullmatch(span.term) and n < 3:
        # "우유팩 뚜껑": which cap is meant is told by the carton's own rule.
        parted = any(previous.end <= place <= span.start for place in squashed.breaks)
        if PART_OF.fullmatch(text[previous.end : span.start]) and not parted:
            return True
    holder = previous and HOLDS.fullmatch(text[previous.end : span.start])
    return bool(holder and HELD.match(text, span.end))


def _mention(knowledge: Knowledge, squashed: Squashed, span: Span) -> Mention:
    ids = knowledge.terms[span.term]
    if len(ids) == 1:
        return Mention(knowledge.items[ids[0]], span)
    items = [knowledge.items[name] for name in ids]
    if len({item.stream for item in items}) == 1:
        return Mention(items[0], span)
    written = _written(squashed, span)
    term = retrieval.misspelt(knowledge, written, alone=True) if written != span.term else None
    if term and len(knowledge.terms[term]) == 1:
        return Mention(knowledge.items[knowledge.terms[term][0]], span, guessed=written)
    left = _told_apart(items, squashed.text[: span.start] + " " + squashed.text[span.end :])
    if len({item.stream for item in left}) == 1:
        return Mention(left[0], span)
    return Mention(knowledge.question(span.term), span)


def _written(squashed: Squashed, span: Span) -> str:
    """The span with what is written before it in the same word: of "뽀조배터리" the index only knows the end."""
    return squashed.text[max(start for start in squashed.starts if start <= span.start) : span.end]


def _told_apart(items: Sequence[Item], rest: str) -> Sequence[Item]:
    """The candidates that a material or kind named in the rest of the sentence leaves."""
    for words, streams in MATERIALS.values():
        said = [word for word in words if word in rest]
        if not said:
            continue
        named = [item for item in items if any(word in normalize(item.ko + item.en) for word in words)]
        items = named or [item for item in items if item.stream in streams] or items
    return items


def _unique(mentions: Iterable[Mention]) -> list[Mention]:
    """Each thing once, in the order of the sentence."""
    ordered = sorted(mentions, key=lambda mention: mention.span.start)
    return list({_name(mention.subject): mention for mention in reversed(ordered)}.values())[::-1]


def _name(subject: Item | Ambiguity) -> str:
    return subject.id if isinstance(subject, Item) else subject.term


# --- words that the index does not know ------------------------------------------------------------------------------


def _unknown_words(
    knowledge: Knowledge, squashed: Squashed, found: Sequence[Span], known: Sequence[Mention]
) -> list[Mention]:
    """Compounds and typing errors: where nothing else is named, or told in one list with what is."""
    words = retrieval.content_words(squashed, found)
    if known:
        words = [word for word in words if any(_neighbours(squashed, word, mention.span) for mention in known)]
    mentions = []
    for word in words:
        term = retrieval.closest(knowledge, word.term, alone=not known)
        if term and not NOT.match(squashed.text, word.end) and not INTO.match(squashed.text, word.end):
            mention = _mention(knowledge, squashed, Span(word.start, word.end, term))
            mentions.append(replace(mention, guessed=mention.guessed or word.term))
    return mentions if known else mentions[:3]


def _neighbours(squashed: Squashed, one: Span, other: Span) -> bool:
    first, second = sorted((one, other), key=lambda span: span.start)
    return second.start > first.end and in_list(squashed, first, second)


def _guesses(knowledge: Knowledge, squashed: Squashed, found: Sequence[Span]) -> tuple[list[Mention], tuple[Item, ...]]:
    words = retrieval.content_words(squashed, found)
    items, sure = retrieval.candidates(knowledge, [word.term for word in words])
    if sure:
        said = " ".join(word.term for word in words)
        return [Mention(items[0], Span(words[0].start, words[-1].end, said), guessed=said)], ()
    return [], items


def _material(squashed: Squashed) -> str:
    """A material that is named, where nothing else is."""
    said = (name for name, (words, streams) in MATERIALS.items() if streams and any(w in squashed.text for w in words))
    return next(said, "")


# --- which situation belongs to which thing --------------------------------------------------------------------------


def _with_situations(
    knowledge: Knowledge, squashed: Squashed, mentions: Sequence[Mention], phrases: Sequence[Span]
) -> list[Mention]:
    owned: list[set[str]] = [set() for _ in mentions]
    for span in phrases:
        owned[_owner(squashed, mentions, span)].add(span.term)
    told = [tuple(knowledge.situations_of(keywords)) for keywords in owned]
    return [replace(mention, situations=told[n]) for n, mention in enumerate(mentions)]


def _owner(squashed: Squashed, mentions: Sequence[Mention], phrase: Span) -> int:
    """An adjective belongs to the noun after it ("깨진 유리컵"), a verb to the noun before it ("유리컵이 깨졌어요")."""
    later = [n for n, mention in enumerate(mentions) if mention.span.start >= phrase.end]
    earlier = [n for n, mention in enumerate(mentions) if mention.span.start < phrase.end]
    if not earlier:
        return later[0]
    if later:
        gap = squashed.text[phrase.end : mentions[later[0]].span.start]
        if len(gap) <= 3 and not PARTICLES.fullmatch(gap[:0] + gap or "은은은은"):
            return later[0]
        if gap == "" or (not is_hangul(phrase.term[0]) and len(gap) <= 2):
            return later[0]
    return earlier[-1]
