"""Intents of a message, found by words and by the reader of the knowledge base, follow-ups resolved against memory."""

import re

from eco2.chat.agent import seeing
from eco2.chat.agent.seeing import Photo
from eco2.chat.agent.state import Intent, Memory, Question, Understood
from eco2.chat.agent.weather import city_in
from eco2.knowledge import Item, Knowledge, recognising
from eco2.knowledge.answer import Lang
from eco2.knowledge.asking import DISPOSAL, OFF_TOPIC, Asked, understand
from eco2.knowledge.models import Ambiguity

NEAR = re.compile(
    r"근처|가까운|주변|가까이|이\s*동네에?\s*어디|어디\s*(?:있|에\s*있|가야|로\s*가|서\s*(?:받|사|팔))|어딨|어디야|어디예요|어디에요|위치|"
    r"찾아\s*줘|가져다|가져가|near|closest|around here|where (?:is|are) (?:the|a|there)|nearby",
    re.IGNORECASE,
)
SHOP = re.compile(r"제로\s*웨이스트|리필|무포장|알맹|zero.?waste|refill|가게|매장|샵|\bshops?\b", re.IGNORECASE)
CENTRE = re.compile(r"재활용\s*센터|중고|나눔|reuse cent|second.?hand", re.IGNORECASE)
POINT = re.compile(
    r"수거함|수거\s*장소|수거처|배출\s*장소|거점|회수기|모으는\s*곳|버리는\s*곳|drop.?off|collection point",
    re.IGNORECASE,
)
CHARACTER = re.compile(r"캐릭터|도감|character|누[구가]\s*나와", re.IGNORECASE)
WHO = re.compile(r"누구|뭐야|뭔데|어떻게\s*(?:얻|만나|모)|얻|만나|알려|소개|who|meet|earn", re.IGNORECASE)
WEATHER = re.compile(
    r"날씨|기온|미세\s*먼지|비\s*(?:와|올|오나|오니|오는지|온다|온대|온답)|weather|forecast|\brain", re.IGNORECASE
)
UMBRELLA = re.compile(r"우산\S?\s*(?:챙[겨기길]|필요|가져|들고)")
"""A question about the weather, where nothing is said of throwing one away."""
FEE = re.compile(r"수수료|스티커\s*(?:값|가격|얼마)|얼마|비용|요금|\bfees?\b|how much", re.IGNORECASE)
BULKY = re.compile(r"대형\s*(?:폐기물|쓰레기)|폐기물\s*스티커|bulky", re.IGNORECASE)
PRICE = re.compile(
    r"시세|매입|고물|고철\s*값|폐지\s*값|파지\s*값|(?:팔면|키로|킬로|kg)\S*\s*얼마|scrap price|\bworth\b", re.IGNORECASE
)
SEARCH = re.compile(r"검색|인터넷에서|최신\s*(?:뉴스|소식)|뉴스|search the web|look up online|\bnews\b", re.IGNORECASE)
DRAW = re.compile(
    r"그려\s*(?:줘|주세요|줄래|봐)|(?:그림|이미지|포스터)\S*\s*(?:만들|생성|그려)|draw (?:me|a|an|it)\b|"
    r"(?:generate|make) (?:an? )?(?:image|picture)",
    re.IGNORECASE,
)
HELLO = re.compile(r"^(?:안녕|하이|헬로|반가|처음\s*뵙|hi\b|hello|hey\b|good (?:morning|evening))", re.IGNORECASE)
THANKS = re.compile(r"고마워|고맙|감사|땡큐|thank", re.IGNORECASE)
BYE = re.compile(r"잘\s*(?:가|있어)|안녕히|다음에\s*봐|\bbye", re.IGNORECASE)
ABLE = re.compile(
    r"뭐\s*(?:할\s*수|해\s*줄|를\s*도와)|무엇을\s*(?:할|도와)|도움말|사용법|넌\s*누구|너는\s*누구|이름이\s*뭐|"
    r"help$|what can you|who are you",
    re.IGNORECASE,
)
HARM = re.compile(
    r"삼켰|삼킨|삼켜|먹었|먹은|마셨|마신|들이마|들이켰|눈에|흡입|swallow|\bate\b|\beaten\b|drank|drunk|"
    r"inhal|in (?:his|her|my) eye",
    re.IGNORECASE,
)
"""Words of harm to somebody, which may be about any of the last things."""
_MORE = {
    Intent.BULK_WASTE: re.compile(
        r"총|합쳐|합하면|다\s*하면|둘\s*다|얼마|신청|예약|접수|스티커|크기|사이즈|인용|높이|폭|"
        r"together|total|book|apply|online|size|\bboth\b",
        re.IGNORECASE,
    ),
    Intent.WEATHER: re.compile(
        r"오늘|내일|모레|글피|주말|요일|아침|저녁|오후|오전|밤|today|tomorrow|weekend|morning|evening|night|day\b",
        re.IGNORECASE,
    ),
    Intent.IMAGE_GENERATION: re.compile(r"더|다시|좀|말고|색|again|more|less|draw|make it", re.IGNORECASE),
}
"""Intent that is gone on from → a few words that do."""
PHOTO_BEFORE = re.compile(
    r"(?:아까|방금|그|찍은|올린|보낸|위)\s*(?:사진|이미지)|(?:사진|이미지)\s*(?:속|안|의)|"
    r"\b(?:in|on) (?:the|that|my) (?:photo|picture|image)",
    re.IGNORECASE,
)
PRONOUN = re.compile(
    r"(?:그|이|저)(?:건|거|것|게)|[은는던ㄴ한된진]\s*(?:건|거|것)(?:은|는|도|요|\?|$|\s)|\b(?:it|that one|this one)\b"
)
SOILED = re.compile(
    r"묻(?:었|은|어)|밴\s|배었|눌어붙|눌러\s*붙|범벅|찌들|greasy|soiled|stained|"
    r"(?:stuck|covered) (?:on|in|with)",
    re.IGNORECASE,
)
"""Dirt on the thing that was talked about: what the dirt is of is not what is thrown away."""
_ORDINALS = (r"첫\s*번?째|1\s*번|첫\s*번|first", r"두\s*번?째|2\s*번|second", r"세\s*번?째|3\s*번|third")
WORDS = re.compile(r"[가-힣]{2}|[^\W\d_ㄱ-ㅎㅏ-ㅣ]{2}")
"""Two letters in a row: laughter (ㅎㅎ) and pictures ask nothing."""
LONGEST_HARM = 300
PAID = ("bulky", "construction", "ewaste_pickup")
"""Streams of things that a fee is asked about."""
LIVES = re.compile(
    r"^\s*(?P<place>\S{1,8}?(?:시|군|구))(?:요|이요|예요|이에요|입니다|에\s*살아요)?[.!]?\s*$|^\s*(?P<en>\w+-(?:gu|gun|si))\b",
    re.IGNORECASE,
)
"""The answer to the question where somebody lives."""
LONGEST_FOLLOW_UP = 60
"""Characters; who writes more names what it is about."""


def understood(knowledge: Knowledge, question: Question) -> Understood:
    text, memory = _picked(question.text, question.memory), question.memory
    if question.photo is not None:
        return _with_photo(knowledge, question, question.photo)
    if memory.photo and PHOTO_BEFORE.search(text):
        text, memory = seeing.without_words(text), memory.of_item(knowledge.items.get(memory.photo))
    if harmed := _harmed(knowledge, text, memory):
        return Understood(harmed.lang, (Intent.WASTE,), harmed, follows=True)
    asked, follows = _asked(knowledge, text, memory)
    if more := _more(text, asked, memory):
        return Understood(asked.lang, more, asked, follows)
    intents = tuple(dict.fromkeys(_intents(knowledge, text, question, asked, follows)))
    return Understood(asked.lang, intents or (Intent.GENERAL,), asked, follows)


def _harmed(knowledge: Knowledge, text: str, memory: Memory) -> Asked | None:
    """The message as an emergency with one of the last things, where it tells of harm and names none."""
    if not HARM.search(text) or len(text) > LONGEST_HARM or recognising.emergency(knowledge, text):
        return None
    for thing in filter(None, (memory.thing, *memory.recent)):
        asked = understand(knowledge, f"{thing} {text}")
        if asked.emergency:
            return asked
    return None


def _more(text: str, asked: Asked, memory: Memory) -> tuple[Intent, ...]:
    """The intent of before, where a few words go on from it and say nothing of another."""
    if not memory.subject or len(text) > LONGEST_FOLLOW_UP or asked.emergency or small_talk(text):
        return ()
    if any(words.search(text) for words in (CHARACTER, DRAW, PRICE, WEATHER, SEARCH, SHOP, CENTRE, NEAR)):
        return ()
    subject, named = Intent(memory.subject), bool(asked.mentions or asked.reading.material)
    if subject is Intent.BULK_WASTE:
        if _paid_for(asked) and not DISPOSAL.search(text):
            return (Intent.WASTE, subject) if asked.mentions else (subject,)
        told = asked.place or asked.region or asked.district or lives(text) or _MORE[subject].search(text)
        return (subject,) if told and not named else ()
    if _how(text):
        return ()
    if subject is Intent.RECYCLABLE_PRICE:
        return (subject,) if named and not DISPOSAL.search(text) and not FEE.search(text) else ()
    city = subject is Intent.WEATHER and city_in(text) is not None
    return (subject,) if (city or _MORE[subject].search(text)) and not named else ()


def _with_photo(knowledge: Knowledge, question: Question, photo: Photo) -> Understood:
    text = seeing.without_words(question.text)
    alone = _in_district(knowledge, text or question.text, question.memory)
    shown = seeing.asked_of(knowledge, text, photo, alone, question.memory.district)
    asked = shown or alone
    intents = list(dict.fromkeys(_intents(knowledge, text, question, asked, shown is not None)))
    if shown is not None and not intents:
        intents = [Intent.WASTE]
    if shown is None and not (alone.mentions or alone.emergency or alone.topics):
        # Nothing is known to answer about: the sentence about the photo asks back.
        intents = [intent for intent in intents if intent is not Intent.WASTE]
    return Understood(asked.lang, tuple(intents) or (Intent.GENERAL,), asked, of_photo=shown is not None)


def _picked(text: str, memory: Memory) -> str:
    """One of the things that were offered, where the message picks it by its place."""
    for place, word in enumerate(_ORDINALS[: len(memory.choices)]):
        if re.search(word, text, re.IGNORECASE) and len(text) <= LONGEST_FOLLOW_UP:
            return memory.choices[place]
    return text


def _asked(knowledge: Knowledge, text: str, memory: Memory) -> tuple[Asked, bool]:
    """The message as a question about waste, and whether it goes on from the last thing."""
    alone = _in_district(knowledge, text, memory)
    told = WORDS.search(text) is not None and not small_talk(text)
    if not memory.thing or len(text) > LONGEST_FOLLOW_UP or alone.emergency or not told:
        return alone, False
    if OFF_TOPIC.search(text) and not FEE.search(text):
        return alone, False
    picks = any(one.id in memory.kinds for one in _items(alone))
    soiled = SOILED.search(text) and not DISPOSAL.search(text)
    vague = not alone.mentions or soiled or (PRONOUN.search(text) and "말고" not in text)
    part_of = bool(alone.mentions) and all(isinstance(one.subject, Ambiguity) for one in alone.mentions)
    if not (picks or vague or part_of) or alone.topics:
        return alone, False
    about = memory.said if picks or memory.dangerous else memory.thing
    together = _in_district(knowledge, f"{about} {text}".strip(), memory, alone.lang)
    if part_of and not vague and not _items(together):
        return alone, False
    return (together, True) if together.mentions else (alone, False)


def _in_district(knowledge: Knowledge, text: str, memory: Memory, lang: Lang | None = None) -> Asked:
    asked = understand(knowledge, text, lang=lang)
    if asked.region or asked.place or asked.district or asked.which_region or not memory.district:
        return asked
    return understand(knowledge, text, memory.district, lang)


def _items(asked: Asked) -> list[Item]:
    return [one.subject for one in asked.mentions if isinstance(one.subject, Item)]


def small_talk(text: str) -> str:
    """Key of the sentence that answers a greeting, thanks, a goodbye or a question about the agent; "" for others."""
    plain = text.strip()
    if DISPOSAL.search(plain):
        return ""
    if len(plain) <= LONGEST_FOLLOW_UP:
        for key, words in (("able", ABLE), ("thanks", THANKS), ("bye", BYE), ("greeting", HELLO)):
            if words.search(plain):
                return key
    return ""


def _intents(knowledge: Knowledge, text: str, question: Question, asked: Asked, follows: bool) -> list[Intent]:
    found: list[Intent] = []
    named = bool(asked.mentions or asked.topics or asked.reading.candidates or asked.reading.material)
    if asked.emergency:
        return [Intent.WASTE]
    if CHARACTER.search(text) or (WHO.search(text) and characters_in(knowledge, text)):
        found.append(Intent.CHARACTER)
    if DRAW.search(text):
        found.append(Intent.IMAGE_GENERATION)
    if PRICE.search(text):
        found.append(Intent.RECYCLABLE_PRICE)
    elif (BULKY.search(text) and FEE.search(text)) or (FEE.search(text) and _paid_for(asked)):
        found.append(Intent.BULK_WASTE)
    if WEATHER.search(text) or (UMBRELLA.search(text) and not (named and DISPOSAL.search(text))):
        found.append(Intent.WEATHER)
    if SEARCH.search(text):
        found.append(Intent.WEB_SEARCH)
    if not found and not named and question.memory.last == Intent.CHARACTER and WHO.search(text):
        found.append(Intent.CHARACTER)
    place = _place(text, named, question, follows)
    given = place is not None and question.memory.wants_place and question.location is not None
    told = named and (FEE.search(text) or (not follows and _how(text)))
    about_place_only = place is not None and (given or not told)
    warned = follows and question.memory.dangerous
    beside = named and DISPOSAL.search(text) and set(found) <= {Intent.WEATHER, Intent.RECYCLABLE_PRICE}
    if not asked.refused and (not found or beside) and (warned or not about_place_only):
        found.append(Intent.WASTE)
    if Intent.BULK_WASTE in found and named and not follows:
        found.insert(0, Intent.WASTE)
    if place is not None:
        found.append(place)
    return found


def _paid_for(asked: Asked) -> bool:
    """True where a thing is named that a sticker is bought for; of a bottle one asks what it brings."""
    things = [one.subject for one in asked.reading.mentions if isinstance(one.subject, Item)]
    return any(item.stream in PAID for item in things)


def lives(text: str) -> str:
    """The district that is all that the message says; "" for others."""
    found = LIVES.search(text)
    return (found["place"] or found["en"]) if found else ""


def _how(text: str) -> bool:
    return re.search(r"어떻게|방법|버려|버리|how", text, re.IGNORECASE) is not None


def _place(text: str, named: bool, question: Question, follows: bool) -> Intent | None:
    """Intent of who looks for a place: a shop, or a point that takes a thing."""
    if (
        question.memory.wants_place
        and question.location is not None
        and len(text) <= LONGEST_FOLLOW_UP
        and (follows or not named)
    ):
        return Intent.COLLECTION_POINT if question.memory.thing else Intent.LOCATION
    near = NEAR.search(text) is not None
    if SHOP.search(text) and (near or not named):
        return Intent.LOCATION
    if CENTRE.search(text) and near:
        return Intent.LOCATION
    if near and (POINT.search(text) or named or question.memory.thing):
        return Intent.COLLECTION_POINT
    return Intent.LOCATION if near and not OFF_TOPIC.search(text) else None


def characters_in(knowledge: Knowledge, text: str) -> list[str]:
    """Names of characters that the text has."""
    return [one.name for one in knowledge.characters if one.name in text]
