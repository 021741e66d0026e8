"""What a sentence asks about: the things it names, the situation that each is in, and guesses where none is named.

Words are found by the index of names and aliases first. What that does not know is tried as a compound ("딸기잼통"),
as a typing error (letters of Hangul, one or two apart), and last by the bigrams it shares with names. A word that is
not close enough to anything gives candidates to choose from, never an answer.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from eco2.knowledge import matching
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import Ambiguity, Item, Situation
from eco2.knowledge.words import index
from eco2.knowledge.words.text import (
    PARTICLES,
    Span,
    Squashed,
    bounded,
    in_list,
    is_hangul,
    is_korean,
    listed,
    longest,
    normalize,
    phrase_spans,
    preceded,
    squash,
)

MOST, MOST_UNKNOWN = 30, 12
"""Things, conditions and words of a text that are looked at, and words that are tried as compounds or misspelt: nobody
names more, and a text made up of them may not stop the process."""

# What follows a noun that is not what the question is about.
NOT = re.compile(r"(?:은|는|이|가)?(?:말고|아니고|아니라|아닌|아니에요|아니구|빼고|제외|대신)")
PUT = r"(?:버려|버리|버릴|넣|부어|붓|부으|흘려|흘리|담|내놓|내도|내면|내야|섞|쏟|뿌려|태우)"
PLACE = r"(?:칸|함|통|전용함|수거함|자리|쪽|류|봉투|봉지|마대|박스)?"
INTO = re.compile(rf"{PLACE}(?:에다가|에다|에|로|으로)(?:그냥|같이|함께|다|바로|막|몰래|다같이)?{PUT}")
FROM = re.compile(r"(?:에서|에|으로|로|속에|안에)(?:싼|나온|나오는|있던|꺼낸|뺀|떼낸|떼어낸|들어있던|딸려온)")
CONTENT = re.compile(
    r"(?:이|가|을|를|도)?(?:좀|조금|많이|다|잔뜩|살짝|심하게)?(?:묻은|묻어있는|담긴|담았던|담은|담아둔|"
    r"담겨있던|담겼던|담겼었던|들어있던|들어있는|들었던|"
    r"들어간|든|들은|있는|있던|남은|남아있는|넣었던|싸던|쌌던|밴|배인|발린|붙은|붙어있는|달린|섞인|낀|채운|뺀|"
    r"넣은|넣어둔|싼|없는|안뗀|범벅된|범벅인)"
)
HOLDS = re.compile(r"(?:은|는)?(?:안|속|위|겉)?에(?:는)?(?:아직|좀|조금|많이|다|잔뜩|살짝)?$")
HELD = re.compile(
    r"(?:이|가|도|은)?(?:좀|조금|많이|다|잔뜩|살짝|아직|꽉|반|반쯤|반넘게|절반|절반쯤|절반이상|거의|꽤|가득|그대로)?(?:묻|남|들|있|붙|배|섞|끼|낀|찼|차|범벅|새)"
)
BOX = re.compile(r"(?:전용)?(?:수거함|전용함)")
WITH = re.compile(r"(?:이랑|랑|하고|와|과)(?:함께|같이)")
CLASS = re.compile(
    r"(?:류)?(?:이|가)?(?:인가|인지|일까|맞|아닌가|아니에|아닌지|취급|으로|로|에|예요|이에요|이야|되나|돼|될|가능|쪽|칸)|(?:s|es)?$"
)
"""After the name of a stream in a question of the kind "is it …?"."""
SOILS = frozenset(
    re.findall(
        r"\S+",
        """
        기름 음식물 음식 양념 국물 물 흙 먼지 페인트 약 담배꽁초 꽁초 고추장 김치 소스 라벨 스티커 테이프 송장 뚜껑
        가스 배터리 건전지 물감 곰팡이 label sticker cap lid tape grease oil food sauce battery batteries pump straw
        """,
    )
)
"""What is in or on a thing that was named before: "용기 기름이 안 지워져요" asks about the container."""
BETWEEN = re.compile(
    r"(?:의|로된|으로된)?(?:[가-힣]{1,9}(?:던|은|는|인|한|된|진|난|긴|있잖아))?"
    r"(?:투명|무색|플라스틱|유리|종이|비닐|일회용|작은|큰|빈|헌|흰|하얀)*"
)
"""What may stand between the parts of one name: "휴지 다 쓰고 남은 심" is a 휴지심."""
PART_OF = re.compile(r"의?")
PART = re.compile(
    r".*(?:뚜껑|라벨|상자|박스|봉지|봉투|통|병|캔|케이스|팩|용기|껍질|껍데기|뼈|심|망|필름|포장|포장재|포장지|"
    r"스티커|테이프|손잡이|"
    r"펌프|빨대|커버|컵|곽|갑|씨|찌꺼기|그릇|접시|파우치|튜브|장난감|인형|배터리|건전지|전구|리모컨|시계|옷|장갑)"
)
EN_NOT = re.compile(r"(?:not|insteadof|ratherthan|otherthan|except|isnt|arent)(?:a|an|the|my|for)?$")
EN_INTO = re.compile(r"(?:in|into|inside|down|to|onto|as|by|via)(?:the|a|an|my|our|your|regular|normal|same)?$")
EN_WITH = re.compile(
    r"(?:with|from|for|of|coveredin|fullof|containing|without|whose|has|have|had|holding|through|on)"
    r"(?:a|an|the|some|its|my|it|old|all|no|there|dried|leftover|any|still){0,2}$"
)
EN_KIND = re.compile(r"(?:kind|type|sort|version|one)")
EN_HELD = re.compile(
    r"(?:s|es)?(?:inside|stuck|leftin|soaked|stained|covered|attached|residue|isstill|arestill|stillin|left)"
)
MODAL_CAN = re.compile(
    r"\bcan(?:'t|not)?\s+(?=(?:i|you|we|they|it|he|she|this|that|these|those|be|the|my|an?|your|our|one|some\w*|any\w*|people)\b)|"
    r"(?P<start>^|[.?!,])\s*can\s+(?!of\b|opener|lid)|\b(?P<who>that|what|how|where|which|they|i|you|we|it|\w+s)\s+can\b(?!s)",
    re.IGNORECASE,
)
BIN = re.compile(r"\b(?:trash|garbage|rubbish|waste|recycling)[ -]?(?:can|bin|box|bag|chute)s?\b", re.IGNORECASE)
FULL_OF = re.compile(
    r"\b(full|unopened|half[- ]empty|leftover) (?:bottle|jar|tube|tub|container|canister|pot|jug)s? of (?=\w)",
    re.IGNORECASE,
)
"""A half full bottle of thinner is about the thinner."""
HEAP_OF = re.compile(
    r"(?<!empty )\b(?:bag|box|pile|stack|bunch|load|bucket|basket|sack|bundle|drawer|suitcase|handful|heap|crate)s?"
    r" (?:(?:full )?of|filled with) (?!chips|crisps|snack|coffee|milk|juice|cereal|tissue|cookie|biscuit|ramen|noodle)",
    re.IGNORECASE,
)
"""A bag of peels is about the peels; a bag of crisps is the bag."""
PLACES = re.compile(
    r"(?:싱크대|개수대|세면대|변기|하수구|배수구|욕조|식탁|책상|침대|소파|냉장고|세탁기|서랍장|서랍|옷장|장롱|가방|선반|"
    r"찬장|신발장|화장대|트렁크|주머니)\s*(?:서랍\s*)?"
    r"(?:에서|에다가|에다|에(?!\s*(?:딸|달|붙|묻|구멍|금|곰팡|얼룩))|위에?서?|밑에?서?|아래에?서?|안에?서?|속에?서?|옆에?서?|뒤에?서?|"
    r"구석에?서?)(?=\s|[가-힣])|"
    r"[가-힣]{1,12}로\s*(?:밀|빨아|쓸어|닦아|닦으|닦고|싸서|싸면|싸야|감싸|감아|감은|감으|묶어|묶은|가는|돌아가|작동|자르|잘라|뚫|"
    r"두들|때려)[가-힣]*|"
    r"\b(?:down|into|in|from|on|under|inside|behind|around) (?:the|my|our|a) (?:old |kitchen |bathroom |desk |dining )*"
    r"(?:sink|toilet|toilet roll|drain|table|desk|drawer|closet|wardrobe|bed|sofa|couch|fridge|freezer|oven|shelf|"
    r"cupboard|"
    r"cabinet|bathtub|washing machine|cafe|restaurant|bathroom|kitchen)s?\b|"
    r"\b(?:with|use|using|run|by) (?:the|a|my) (?:vacuum(?: cleaner)?|hoover|broom|mop|vacuum)\b|"
    r"\b(?:sink|toilet|drain) (?:ok|okay|fine)\b|\blike an? \w+",
    re.IGNORECASE,
)
"""Where something lies or is poured, and what it is cleaned or wrapped with: no thing that is asked about."""
TOO = re.compile(r"도(?:있|요|나왔|나옴|같이)")
"""After a word that is told as one more thing."""
FINITE = re.compile(r"(?:는데|은데|었|았|어서|아서|서|고|지만|으니|네|요|어요|음|다)")
"""After the stem of a verb: what it says is over before the next noun."""
AND = re.compile(r"(?:랑|하고|그리고|and|plus)(?:the|a|an|some|my|또|한)?$")
NOT_IT = r"(?:이|가|은|는)?(?:말고|아니고|아니라|아닌|빼고)"
CONTAINER_OF = re.compile(
    r"\b(bottle|can|box|bag|jar|tube|carton|pack|packet|tub|cup|tin|canister|pot|bowl|container|sachet|case|"
    r"lid|cap)s?"
    r" of (?:(?:some|the|my|old|used|expired|leftover) )?(\w+(?: \w+)?)",
    re.IGNORECASE,
)

VARIANTS = {
    r"쓰래기|쓰레귀|쓰렉": "쓰레기",
    r"[밧빳바배베]데리|밧테리|빳떼리|바테리|배터리이": "배터리",
    r"스[치티]로[폼품폴]|스티로퐁|스치로뽐": "스티로폼",
    r"[프뿌]라스틱|플라스택|플라스틱크": "플라스틱",
    r"비니[루류루]|비니르": "비닐",
    r"껍[떼대때디]기|껍딱|껍닥|껍떡|껍띠기": "껍데기",
    r"패트|펫트|페뜨|팻트|페터병": "페트",
    r"쥬스": "주스",
    r"박쓰|빡스|박수(?=[를을은는이가]|\s|$)": "박스",
    r"렌지": "레인지",
    r"후라이팬|프라이펜|후라이펜": "프라이팬",
    r"케[잌익]": "케이크",
    r"펜티": "팬티",
    r"(?<=[가-힣])졋": "졌",
    r"(?<=[가-힣])렷": "렸",
    r"(?<=[가-힣])됫|됬": "됐",
    r"(?<=[가-힣])엇(?=어|네|는|습)": "었",
    r"(?<=[가-힣])앗(?=어|네|는|습)": "았",
    r"(?<=[가-힣])낫(?=어|네|습)": "났",
    r"(?<=[가-힣])잇(?=어|는|네|습)": "있",
    r"배개|배게|베게": "베개",
    r"(?<=[깨찢터풀지어])짐(?![가-힣])": "졌음",
    r"부풂": "부풀었음",
    r"(?<=[데라까다고지거])예(?![가-힣])": "요",
    r"[는능은]교(?![가-힣])|[는능]겨(?![가-힣])": "나요",
    r"이[랑당]께(?![가-힣])": "입니다",
    r"(?<=다)[ㄴ]?당께(?![가-힣])|(?<=[가-힣])당께(?![가-힣])": "다",
    r"ㅋ+|ㅎ{2,}|ㅠ+|ㅜ+": " ",
}
"""Spellings that people use, as patterns, and the one that names are written in."""
_VARIANTS = [(re.compile(pattern), standard) for pattern, standard in VARIANTS.items()]

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
    "pet": (("페트", "pet"), ("clear_pet", "plastic")),
    "clear": (("투명", "무색", "clear", "transparent"), ("clear_pet",)),
    "coloured": (("유색", "색깔", "색있", "초록", "갈색", "녹색", "파란", "coloured", "colored", "green", "brown"), ()),
    "gel": (("젤", "gel"), ()),
    "water": (("물", "water"), ()),
    "cotton": (("솜", "오리털", "두꺼운", "겨울", "padded", "thick"), ()),
    "liquid": (("물약", "시럽", "액체", "liquid", "syrup"), ()),
    "mercury": (("수은", "은색", "mercury", "silver"), ()),
    "pills": (("알약", "가루", "pill", "tablet", "powder"), ()),
}  # fmt: skip
"""Words of a material or kind that tell the candidates of an ambiguous word apart: by their names, else by stream."""


_KINDS = "|".join(sorted({word for words, _ in MATERIALS.values() for word in words}, key=len, reverse=True))
_MATERIAL_WORDS = (
    "플라스틱",
    "유리",
    "종이",
    "금속",
    "스텐",
    "비닐",
    "나무",
    "plastic",
    "glass",
    "paper",
    "metal",
    "wooden",
)


Role = Literal["main", "beside", "option"]
"""Of a mention: asked about, told as one more thing ("…도 있어요"), or offered by an A-or-B question about the thing
before it ("비닐인가요 은박인가요")."""


@dataclass(frozen=True)
class Mention:
    """A thing that is named. `guessed`: the words it was found by, where these are no name of it."""

    subject: Item | Ambiguity
    span: Span
    situations: tuple[Situation, ...] = ()
    guessed: str = ""
    role: Role = "main"


@dataclass(frozen=True)
class Reading:
    """Understanding of a sentence.

    `mentions` are what is to be answered, each with its own situations; `around` are things that the sentence only
    needs to tell of them: contents, containers, places, tools, what is bought or excluded. `candidates`: what may be
    meant where nothing is named. `material`: a material that is all that was told. `unread`: words of a list that may
    name a thing and are not known.

    `emergency`, `hazards` and `topics` are ids of data/words: the emergency that is told ("" for none), kinds of
    dangerous things that were named without a known item, and the questions about the system."""

    mentions: tuple[Mention, ...] = ()
    situations: tuple[Situation, ...] = ()
    candidates: tuple[Item, ...] = ()
    material: str = ""
    around: tuple[Mention, ...] = ()
    unread: tuple[str, ...] = ()
    emergency: str = ""
    hazards: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


@lru_cache(maxsize=512)
def read(knowledge: Knowledge, text: str) -> Reading:
    """The same words come again at each stage of a scan. Places and tools count only where nothing else is named."""
    text = bounded(text)
    without = PLACES.sub(" ", text)
    found = _read_corrected(knowledge, without)
    return found if found.mentions or without == text else _read_corrected(knowledge, text)


def _read_corrected(knowledge: Knowledge, text: str) -> Reading:
    found = _read(knowledge, _prepared(text))
    if is_korean(text):
        return found
    corrected = matching.corrected(knowledge, text)
    again = _read(knowledge, _prepared(corrected)) if corrected else found
    return again if _named_letters(again) > _named_letters(found) else found


def _named_letters(reading: Reading) -> int:
    return sum(len(mention.span.term) for mention in reading.mentions)


def _read(knowledge: Knowledge, text: str) -> Reading:
    squashed = squash(text)
    nouns = knowledge.nouns(squashed)[:MOST]
    phrases = knowledge.phrases_in(squashed, nouns)[:MOST]
    nouns = _joined(knowledge, squashed, nouns, phrases)
    situations = tuple(knowledge.situations_of({span.term for span in phrases}))
    meant = _meant(knowledge, squashed, nouns, phrases)
    mentions = [_mention(knowledge, squashed, span, nouns) for span in meant]
    mentions = _unique(squashed, [*mentions, *_unknown_words(knowledge, squashed, [*nouns, *phrases], mentions)])
    if not mentions:
        mentions, candidates = _guesses(knowledge, squashed, phrases)
        if not mentions:
            return Reading((), situations, candidates, _material(squashed))
    return Reading(tuple(_with_situations(knowledge, squashed, mentions, phrases)), situations)


def subjects(knowledge: Knowledge, text: str) -> list[Item | Ambiguity]:
    """The things that a sentence asks about, in order, each once: an item or the question that tells which one."""
    named = [mention.subject for mention in read(knowledge, text).mentions]
    return list({_name(subject): subject for subject in named}.values())


def _prepared(text: str) -> str:
    """The sentence with usual spellings, without English verbs that look like things, "bottle of shampoo" turned into
    "shampoo bottle"."""
    for pattern, standard in _VARIANTS:
        text = pattern.sub(standard, text)
    text = FULL_OF.sub(
        r"\1 ", HEAP_OF.sub("", re.sub(r"\bcan(?:'t|not)\b", "cant", text.replace("’", "'"), flags=re.IGNORECASE))
    )
    if BIN.sub("", text).strip():
        text = BIN.sub("the bin", text)
    return CONTAINER_OF.sub(r"\2 \1", MODAL_CAN.sub(r"\g<start>\g<who> ", text))


def _joined(knowledge: Knowledge, squashed: Squashed, nouns: Sequence[Span], phrases: Sequence[Span]) -> list[Span]:
    """Names whose parts stand apart: "딸기 담겼던 투명 팩" is a 딸기팩, "참기름 유리병" a 참기름병."""
    words = [word for word in index.written_words(squashed, [*nouns, *phrases]) if is_hangul(word.term[0])]
    parts = sorted([*nouns, *words], key=lambda span: span.start)[:MOST]
    joined: list[Span] = []
    for one, other in ((one, other) for n, one in enumerate(parts) for other in parts[n + 1 : n + 7]):
        gap = squashed.text[one.end : other.start]
        parted = any(one.end <= place <= other.start for place in squashed.breaks)
        crossed = any(one.end <= noun.start and noun.end <= other.start for noun in nouns)
        if (
            parted
            or crossed
            or NOT.match(squashed.text, one.end)
            or not is_hangul(one.term[0])
            or not BETWEEN.fullmatch(gap)
        ):
            continue
        if term := _compound(knowledge, one, other, known=other in nouns):
            joined.append(Span(one.start, other.end, term))
    return longest([*nouns, *joined])


def _compound(knowledge: Knowledge, one: Span, other: Span, *, known: bool) -> str | None:
    starts = range(len(other.term)) if known else range(1)
    for start in starts:
        term = one.term + other.term[start:]
        if term in knowledge.terms and term not in (one.term, other.term):
            return term if all(_fits(item, other.term[:start]) for item in knowledge.named(term)) else None
    return None


def _around(squashed: Squashed, span: Span, nouns: Sequence[Span]) -> str:
    """The text between the nouns before and after: what is said of this one."""
    start = max((noun.end for noun in nouns if noun.end <= span.start), default=0)
    end = min((noun.start for noun in nouns if noun.start >= span.end), default=len(squashed.text))
    around = squashed.text[start : span.start] + " " + squashed.text[span.end : end]
    return re.sub(rf"(?:{_KINDS}){NOT_IT}", " ", around)


def _told_apart_by_words(
    items: Sequence[Item], squashed: Squashed, span: Span, nouns: Sequence[Span]
) -> Sequence[Item]:
    """The candidates that have another word of the sentence in a name: the tofu of "cat litter, the tofu kind"."""
    if len(nouns) > 2:
        return items
    for word in index.content_words(squashed, [span]):
        others = [noun for noun in nouns if noun.start <= word.start < noun.end]
        kinds = [noun for noun in others if EN_KIND.match(squashed.text, noun.end)]
        if not kinds and any(_neighbours(squashed, noun, span) for noun in others):
            continue
        named = [item for item in items if any(word.term in normalize(name) for name in index.names(item))]
        items = named or items
    return items


def _fits(item: Item, dropped: str) -> bool:
    """Whether an item is of the materials that a dropped part of a word names: a 맥주 페트병 is no 맥주병."""
    told = [MATERIALS[name] for name in ("plastic", "glass", "paper", "metal", "film", "foam", "pet")]
    said = [(words, streams) for words, streams in told if any(word in dropped for word in words)]
    return all(_named_after(item, words) or item.stream in streams for words, streams in said)


def _named_after(item: Item, words: Sequence[str]) -> bool:
    return any(word in normalize(item.ko + item.en) for word in words)


def _meant(knowledge: Knowledge, squashed: Squashed, nouns: Sequence[Span], phrases: Sequence[Span]) -> list[Span]:
    """The nouns that are asked about: not what they hold, where they are put, or what they are not.

    A word that could mean several items counts where no word is clear, or as part of a list: the lid of
    "생수병인데 뚜껑은요?" is no second thing, the bottle of "캔이랑 유리병" is one."""
    roles = {span: _role(knowledge, squashed, nouns, n) for n, span in enumerate(nouns)}
    roles |= {span: "held" for span in nouns if any(_within(span, phrase) for phrase in phrases)}
    for wanted in ("", "held", "from"):
        meant = [span for span in nouns if roles[span] == wanted]
        if meant:
            break
    else:
        return []
    together = listed(squashed, meant)
    more = {span for span in meant if TOO.match(squashed.text, span.end)}
    linked = (pair for pair in pairwise(meant) if AND.search(squashed.text[pair[0].end : pair[1].start]))
    more |= {span for pair in linked for span in pair}
    clear = [span for span in meant if len(knowledge.terms[span.term]) == 1 or span in together | more]
    return clear or meant[:1]


def _within(span: Span, phrase: Span) -> bool:
    return phrase.start <= span.start and span.end <= phrase.end


def _role(knowledge: Knowledge, squashed: Squashed, nouns: Sequence[Span], n: int) -> str:
    """ "" for what is asked about, else "not", "into", "from" or "held"."""
    span, text = nouns[n], squashed.text
    if NOT.match(text, span.end) or preceded(squashed, span.start, EN_NOT):
        return "not"
    if INTO.match(text, span.end) or preceded(squashed, span.start, EN_INTO):
        return "into"
    if n and (WITH.match(text, span.end) or BOX.match(text, span.end)):
        return "into"
    if n and _is_class(knowledge, squashed, nouns[n - 1], span):
        return "into"
    if FROM.match(text, span.end):
        return "from"
    if n and EN_KIND.match(text, span.end):
        return "held"
    return "held" if _held(knowledge, squashed, nouns, n) else ""


def _is_class(knowledge: Knowledge, squashed: Squashed, previous: Span, span: Span) -> bool:
    """Whether the word only names a stream: "달걀 껍데기는 음식물인가요?"."""
    asked = span.term in knowledge.classes and CLASS.match(squashed.text, span.end)
    return bool(asked) and not NOT.match(squashed.text, previous.end) and not _parted(squashed, previous, span)


def _held(knowledge: Knowledge, squashed: Squashed, nouns: Sequence[Span], n: int) -> bool:
    span, text = nouns[n], squashed.text
    previous = nouns[n - 1] if n else None
    following = nouns[n + 1] if n + 1 < len(nouns) else None
    if previous and (preceded(squashed, span.start, EN_WITH) or _soils(squashed, previous, span)):
        return True
    if not is_hangul(span.term[-1]):
        end = following.start if following else None
        joined = following is not None and text[span.end : end] == "" and end not in squashed.breaks
        return joined or (len(nouns) > 1 and EN_HELD.match(text, span.end) is not None)
    if following and _modifies(knowledge, squashed, span, following):
        return True
    if previous and len(knowledge.terms[span.term]) > 1 and PART.fullmatch(span.term) and n < 3:
        # "우유팩 뚜껑": which cap is meant is told by the carton's own rule.
        return PART_OF.fullmatch(text[previous.end : span.start]) is not None and not _parted(squashed, previous, span)
    holder = previous and HOLDS.fullmatch(text[previous.end : span.start])
    return bool(holder and HELD.match(text, span.end))


def _modifies(knowledge: Knowledge, squashed: Squashed, span: Span, following: Span) -> bool:
    """ "건전지 들어 있는 장난감", "노트북 배터리": the second one is asked about. "귤껍질 양파껍질" are two."""
    text = squashed.text
    holds = CONTENT.match(text, span.end)
    if holds and following.start - holds.end() <= 4 and not AND.search(text[holds.end() : following.start]):
        return True
    if not PART_OF.fullmatch(text[span.end : following.start]) or _parted(squashed, span, following):
        return False
    part = PART.fullmatch(following.term) is not None and PART.fullmatch(span.term) is None
    return part and len(knowledge.terms[following.term]) == 1


def _soils(squashed: Squashed, previous: Span, span: Span) -> bool:
    if span.term not in SOILS or _parted(squashed, previous, span):
        return False
    return re.match(r"(?:이|가|도|은|는|을|를|s)", squashed.text[span.end :]) is not None


def _parted(squashed: Squashed, one: Span, other: Span) -> bool:
    """Whether the two stand in a list, and not only side by side."""
    told_apart = squashed.text[one.end : other.start] not in ("", "의") and in_list(squashed, one, other)
    return told_apart or any(one.end <= place <= other.start for place in squashed.breaks)


def _mention(knowledge: Knowledge, squashed: Squashed, span: Span, nouns: Sequence[Span] = ()) -> Mention:
    ids = knowledge.terms[span.term]
    if (better := _english_compound(knowledge, squashed, span)) is not None:
        return Mention(better, span)
    around = _around(squashed, span, nouns)
    if other := _of_material(knowledge, squashed, around, span):
        return Mention(other, span)
    if len(ids) == 1:
        return Mention(knowledge.items[ids[0]], span)
    items = [knowledge.items[name] for name in ids]
    if len({item.stream for item in items}) == 1:
        return Mention(items[0], span)
    written = _written(squashed, span)
    term = matching.misspelt(knowledge, written, alone=True) if written != span.term else None
    if term and len(knowledge.terms[term]) == 1:
        return Mention(knowledge.items[knowledge.terms[term][0]], span, guessed=written)
    left = _told_apart_by_words(_told_apart(items, around), squashed, span, nouns)
    if len({item.stream for item in left}) == 1:
        return Mention(left[0], span)
    return Mention(knowledge.question(span.term), span)


def _english_compound(knowledge: Knowledge, squashed: Squashed, span: Span) -> Item | None:
    """Of "snack bag" the index may know the bag only: what the words together mean, if that is sure."""
    before = [edge for edge in squashed.starts if edge < span.start]
    if is_hangul(span.term[0]) or not before or span.start in squashed.breaks:
        return None
    word = squashed.text[max(before) : span.start]
    items, sure = matching.candidates(knowledge, [word, span.term]) if index.is_noun(word) else ((), False)
    return items[0] if sure else None


def _of_material(knowledge: Knowledge, squashed: Squashed, around: str, span: Span) -> Item | None:
    """The item that the word names with a material told elsewhere: a "jar … (plastic)" is a plastic jar."""
    english = not is_hangul(span.term[0])
    edges = [edge for edge in squashed.starts if span.start < edge < span.end and english]
    heads = [span.term, *(squashed.text[edge : span.end] for edge in edges)]
    said = [word for word in _MATERIAL_WORDS if word in around]
    names = (knowledge.terms.get(word + head, ()) for word in said for head in heads)
    return next((knowledge.items[ids[0]] for ids in names if len(ids) == 1), None)


def _written(squashed: Squashed, span: Span) -> str:
    """The span with what is written before it in the same word: of "뽀조배터리" the index only knows the end."""
    return squashed.text[max(start for start in squashed.starts if start <= span.start) : span.end]


def _told_apart(items: Sequence[Item], rest: str) -> Sequence[Item]:
    """The candidates that a material or kind named in the rest of the sentence leaves."""
    for words, streams in MATERIALS.values():
        said = [word for word in words if word in rest]
        if not said:
            continue
        named = [item for item in items if _named_after(item, words)]
        items = named or [item for item in items if item.stream in streams] or items
    return items


def _unique(squashed: Squashed, mentions: Iterable[Mention]) -> list[Mention]:
    """Each thing once, in the order of the sentence; two things may be the same item."""
    ordered = sorted(mentions, key=lambda mention: mention.span.start)
    kept: list[Mention] = []
    for mention in ordered:
        same = [other for other in kept if _name(other.subject) == _name(mention.subject)]
        if all(_told_as_another(squashed, other, mention) for other in same):
            kept.append(mention)
    return kept


def _told_as_another(squashed: Squashed, one: Mention, other: Mention) -> bool:
    """Whether two words for one item name two things: a 공유기 and a 셋톱박스 of one list."""
    between = squashed.text[one.span.end : other.span.start]
    apart = is_hangul(other.span.term[0]) or between or any(p == one.span.end for p in squashed.breaks)
    together = in_list(squashed, one.span, other.span) or AND.search(between)
    return one.span.term != other.span.term and one.span.end <= other.span.start and bool(apart and together)


def _name(subject: Item | Ambiguity) -> str:
    return subject.id if isinstance(subject, Item) else subject.term


# --- words that the index does not know ------------------------------------------------------------------------------


def _unknown_words(
    knowledge: Knowledge, squashed: Squashed, found: Sequence[Span], known: Sequence[Mention]
) -> list[Mention]:
    """Compounds and typing errors: where nothing else is named, or told in one list with what is."""
    words = index.content_words(squashed, found)
    if known:
        words = [word for word in words if any(_neighbours(squashed, word, mention.span) for mention in known)]
    words = words[:MOST_UNKNOWN]
    mentions: list[Mention] = []
    for word in words:
        if NOT.match(squashed.text, word.end) or INTO.match(squashed.text, word.end):
            continue
        if any(_within(word, mention.span) for mention in mentions):
            continue
        term = matching.closest(knowledge, word.term, alone=not known)
        if term:
            mention = _mention(knowledge, squashed, Span(word.start, word.end, term))
            mentions.append(replace(mention, guessed=mention.guessed or word.term))
    return mentions if known else mentions[:3]


def _neighbours(squashed: Squashed, one: Span, other: Span) -> bool:
    first, second = sorted((one, other), key=lambda span: span.start)
    return second.start > first.end and in_list(squashed, first, second)


def _guesses(knowledge: Knowledge, squashed: Squashed, found: Sequence[Span]) -> tuple[list[Mention], tuple[Item, ...]]:
    if loose := knowledge.nouns(squashed, loose=True):
        return [_mention(knowledge, squashed, loose[0])], ()
    words = index.content_words(squashed, found)[:MOST]
    items, sure = matching.candidates(knowledge, [word.term for word in words])
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
    for span in [*phrases, *_dangers_in_parts(knowledge, squashed, mentions)]:
        owned[_owner(squashed, mentions, span)].add(span.term)
    for n in range(1, len(mentions)):
        # "곰팡이 핀 이불이랑 옷": what is said of the first entry of a list holds for its like.
        if not owned[n] and _alike(mentions[n - 1].subject, mentions[n].subject):
            owned[n] |= owned[n - 1] if in_list(squashed, mentions[n - 1].span, mentions[n].span) else set()
    told = [tuple(knowledge.situations_of(keywords)) for keywords in owned]
    return [replace(mention, situations=told[n]) for n, mention in enumerate(mentions)]


def _dangers_in_parts(knowledge: Knowledge, squashed: Squashed, mentions: Sequence[Mention]) -> list[Span]:
    """Phrases of safety that are part of the name of something else: the "bulging battery" of a phone."""
    parts = [noun for noun in knowledge.nouns(squashed) if not any(_within(noun, m.span) for m in mentions)]
    phrases = phrase_spans(squashed, knowledge.dangers) if parts else ()
    return [phrase for phrase in phrases if any(_within(phrase, noun) for noun in parts)]


def _alike(one: Item | Ambiguity, other: Item | Ambiguity) -> bool:
    return isinstance(one, Item) and isinstance(other, Item) and one.stream == other.stream


def _owner(squashed: Squashed, mentions: Sequence[Mention], phrase: Span) -> int:
    """An adjective belongs to the noun after it ("깨진 유리컵"), a verb to the noun before it ("유리컵이 깨졌어요")."""
    later = [n for n, mention in enumerate(mentions) if mention.span.start >= phrase.end]
    earlier = [n for n, mention in enumerate(mentions) if mention.span.start < phrase.end]
    if not earlier:
        return later[0]
    if later:
        gap = squashed.text[phrase.end : mentions[later[0]].span.start]
        if FINITE.match(gap) and earlier:
            return earlier[-1]
        if len(gap) <= 3 and not PARTICLES.fullmatch(gap[:0] + gap or "은은은은"):
            return later[0]
        if gap == "" or (not is_hangul(phrase.term[0]) and len(gap) <= 2):
            return later[0]
    return earlier[-1]
