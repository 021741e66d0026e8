"""Intents of a message, found by words and by the reader of the knowledge base, follow-ups resolved against memory."""

import re

from eco2.chat.agent import seeing
from eco2.chat.agent.seeing import Photo
from eco2.chat.agent.state import Intent, Memory, Question, Understood
from eco2.chat.agent.weather import city_in
from eco2.knowledge import Item, Knowledge, recognising
from eco2.knowledge.answer import Lang
from eco2.knowledge.asking import DANGER, DISPOSAL, OFF_TOPIC, Asked, understand
from eco2.knowledge.attribution import dangerous
from eco2.knowledge.models import Ambiguity
from eco2.knowledge.words.text import is_korean

NEAR = re.compile(
    r"근처|가까운|주변|가까이|이\s*동네에?\s*어디|어딨|어디야|어디예요|어디에요|어디였|위치|찾아\s*줘|가져다|가져가|"
    r"어디\s*(?:있|에\s*있|가야|로\s*가|서\s*(?:받|사|팔)|에다?\s*(?:팔|맡기|기부|갖다))|"
    r"어느\s*(?:주민센터|가게|매장|마트)|갖다\s*(?:주|줄|줘|드|내|놓)|near|closest|around here|"
    r"where (?:is|are) (?:the|a|there)|"
    r"where (?:can|do|should|could) (?:i|we) (?:take|drop|bring|hand|find|sell|donate)",
    re.IGNORECASE,
)
FIND = re.compile(r"찾아\s*줘", re.IGNORECASE)
"""Words that may look for a place, and for news as well."""
SHOP = re.compile(r"제로\s*웨이스트|리필|무포장|알맹|zero.?waste|refill|가게|매장|샵|\bshops?\b", re.IGNORECASE)
CENTRE = re.compile(r"재활용\s*센터|중고|나눔|reuse cent|second.?hand", re.IGNORECASE)
POINT = re.compile(
    r"수거함|수거\s*장소|수거처|배출\s*장소|거점|회수기|모으는\s*곳|버리는\s*곳|drop.?off|collection point",
    re.IGNORECASE,
)
CHARACTER = re.compile(r"캐릭터|도감|character|누[구가]\s*나와", re.IGNORECASE)
POINTS = re.compile(
    r"(?:내|나의|제|모은|쌓인|총)\s*(?:포인트|점수|랭킹|순위)|포인트\S?\s*(?:몇|얼마|확인|보여|어디서|쌓)|"
    r"\bmy (?:points|score|rank)|how many points|leaderboard",
    re.IGNORECASE,
)
"""A question about what characters have earned, which the profile shows."""
WHO = re.compile(
    r"누구|뭐야|뭔데|어떻게\s*(?:얻|만나|모)|얻|만나|알려|소개|who|meet|earn|which one|(?:do|did|will|can) i get",
    re.IGNORECASE,
)
EARNED = re.compile(r"누구?\S?\s*나[와오]|얻|만나|which one|(?:do|did|will|can) i get|earn", re.IGNORECASE)
"""A question about who comes with a thing, after one about characters."""
WEATHER = re.compile(
    r"날씨|기온|미세\s*먼지|비\s*(?:와|올|오나|오니|오면|오는지|온다|온대|온답)|weather|forecast|\brain", re.IGNORECASE
)
UMBRELLA = re.compile(
    r"우산\S?\s*(?:챙[겨기길]|필요|가져|들고)|(?:need|bring|take) (?:an? |my |the )?umbrella", re.IGNORECASE
)
"""A question about the weather, where nothing is said of throwing one away."""
FEE = re.compile(
    r"수수료|스티커\s*(?:값|가격|얼마)|얼마|얼만|비용|요금|공짜|유료|돈\s*(?:을|이|도)?\s*(?:드|들|내|안\s*내|안\s*들)|"
    r"\bfees?\b|how much|\bcosts?\b|for free",
    re.IGNORECASE,
)
BULKY = re.compile(r"대형\s*(?:폐기물|쓰레기)|폐기물\s*스티커|bulky", re.IGNORECASE)
APPLY = re.compile(r"신청|신고|접수|예약|스티커|딱지|\bapply|\bbook\b|register|sticker|pick.?up", re.IGNORECASE)
DAY_ALONE = re.compile(
    r"^\W*(?:(?:그럼|그러면|혹시|근데|and|then|what about|how about|on)\s+)*"
    r"(?:오늘|내일|모레|글피|(?:이번\s*|다음\s*)?주말|[월화수목금토일]요일|today|tomorrow|(?:the |this |next )?weekend|"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day)"
    r"(?:은|는|엔|에는|에|이|도)?요?(?:\s*어때\S*|\s*괜찮\S*|,?\s*(?:dry|rain|wet|sunny|then))?\W*$",
    re.IGNORECASE,
)
"""A day and nothing else: about the weather, in a chat that had it."""
AGENT = re.compile(
    r"프롬프트|역할\s*(?:놀이|극)|(?:관리자|개발자)\s*모드|system prompt|role.?play|developer mode|"
    r"your (?:instructions|prompt)",
    re.IGNORECASE,
)
"""Words about the agent itself."""
PRICE = re.compile(
    r"시세|매입|고물|(?:고철|폐지|파지|박스|신문지?|캔|알루미늄|구리)\s*(?:값|가격)|(?:팔면|키로|킬로|kg)\S*\s*얼마|"
    r"(?:고철|폐지|파지|박스|신문지?|알루미늄|구리)\S?\s*(?:요새|요즘|지금|오늘)?\s*얼마|"
    r"얼마(?:나|에|씩|를)?\s*(?:쳐|받|사\s*[가줘])|scrap price|price of scrap|per\s*(?:kg|kilo)|a kilo\b|\bworth\b|"
    r"\b(?:can|do|will) (?:i|you|they|we) (?:get|pay|buy)\b.{0,20}\bfor\b",
    re.IGNORECASE,
)
PRICE_OF = re.compile(r"\bprices? (?:of|for)\b", re.IGNORECASE)
SEARCH = re.compile(
    r"검색|인터넷에서|(?:최신|새|새로운)\s*(?:뉴스|소식)|뉴스|what'?s new|search the web|look up online|\bnews\b",
    re.IGNORECASE,
)
DRAW = re.compile(
    r"그려\s*(?:줘|주세요|줄래|봐)|(?:그림|이미지|포스터)\S*\s*(?:만들|생성|그려)|draw (?:me|a|an|it)\b|"
    r"(?:generate|make) (?:an? )?(?:image|picture)",
    re.IGNORECASE,
)
HELLO = re.compile(r"^(?:안녕|하이|헬로|반가|처음\s*뵙|hi\b|hello|hey\b|good (?:morning|evening))", re.IGNORECASE)
THANKS = re.compile(
    r"고마워|고맙|감사|땡큐|ㄱㅅ|수고(?:하|요|$|\W)|thank|\bthx\b|\bcheers\b|kamsa|gamsa|(?:great|big) help",
    re.IGNORECASE,
)
BYE = re.compile(r"잘\s*(?:가|있어)|안녕히|다음에\s*봐|\bbye", re.IGNORECASE)
ABLE = re.compile(
    r"할\s*수\s*있는\s*(?:게|것|건)\s*뭐|뭐\s*(?:할\s*수|해\s*줄|를\s*도와)|무엇을\s*(?:할|도와)|도움말|사용법|넌\s*누구|너는\s*누구|이름이\s*뭐|"
    r"help$|what can you|who are you",
    re.IGNORECASE,
)
ACCOUNT = re.compile(
    r"탈퇴|로그인|로그아웃|비밀번호|(?:내|제|나의)\s*(?:계정|등급|정보)|계정\s*\S*\s*(?:삭제|지우|바꾸|변경)|"
    r"(?:이\s*)?앱\S?\s*(?:어떻게|사용)|\bmy (?:account|profile|password)|\b(?:log|sign)(?:ging|ing)? ?(?:in|out)\b|"
    r"\buse (?:this|the) app\b",
    re.IGNORECASE,
)
"""A question about the app or an account in it."""
HARM = re.compile(
    r"삼켰|삼킨|삼켜|먹었|먹은|마셨|마신|들이마|들이켰|눈에|흡입|swallow|\bate\b|\beaten\b|drank|drunk|"
    r"inhal|in (?:his|her|my) eye",
    re.IGNORECASE,
)
"""Words of harm to somebody, which may be about any of the last things."""
_PLACE_MORE = re.compile(
    r"^\W*[가-힣]{1,6}(?:동|역|읍)(?:이에요|예요|이요|요|입니다|인데요?|쪽|근처)?\W*$|열어|여나|여는|열려|닫|영업|몇\s*시|요일|주말|휴일|공휴일|전화|번호|주차|쪽은|쪽에|역은|역에|동은|동에|거긴|거기|그곳|그쪽|다른\s*(?:데|곳)|"
    r"더\s*(?:가까|없|있)|말고|쪽\W*$|걸어|버스|얼마나\s*(?:멀|걸)|\bopen|\bclosed?\b|hours|weekend|sunday|saturday|phone|parking|"
    r"walk|station|closer|another one|other (?:place|one)|how far|\bthere\b",
    re.IGNORECASE,
)
_MORE = {
    Intent.BULK_WASTE: re.compile(
        r"총|합쳐|합하면|다\s*(?:하|해|합)|둘\s*다|전부|모두|얼마|비싸|신청|예약|접수|신고|스티커|딱지|크기|사이즈|인용|자짜리|높이|폭|가로|세로|cm|센티|"
        r"결제|환불|취소|언제|며칠|날짜|전화|together|total|book|apply|online|size|\bboth\b|how much|sticker|pay|when",
        re.IGNORECASE,
    ),
    Intent.RECYCLABLE_PRICE: re.compile(
        r"얼마|시세|가격|값|기준|언제|오늘|요즘|더\s*(?:쳐|받|비싼|비싸)|팔|깨끗|키로|킬로|kg|"
        r"how much|price|sell|worth|today",
        re.IGNORECASE,
    ),
    Intent.WEATHER: re.compile(
        r"오늘|내일|모레|글피|주말|요일|아침|저녁|오후|오전|밤|today|tomorrow|weekend|morning|evening|night|day\b",
        re.IGNORECASE,
    ),
    Intent.IMAGE_GENERATION: re.compile(
        r"더|다시|좀|말고|색|배경|크기|크게|작게|밝게|어둡게|귀엽|글씨|글자|그림|느낌|스타일|버전|처럼|넣어|추가|빼|바꿔|바꾸|고쳐|옆에|위에|마리|"
        r"again|more|less|draw|make it|background|bigger|smaller|brighter|darker|colou?r|add|remove|change|style|"
        r"version|instead",
        re.IGNORECASE,
    ),
    Intent.WEB_SEARCH: re.compile(
        r"출처|링크|기사|자세|더|최근|최신|\d{4}\s*년|올해|작년|언제|쪽으로|것만|걸로|요약|정리|source|link|more|detail|latest|recent|"
        r"only|when|which (?:site|page)|\b20\d\d\b",
        re.IGNORECASE,
    ),
    Intent.COLLECTION_POINT: _PLACE_MORE,
    Intent.LOCATION: _PLACE_MORE,
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
    r"묻(?:었|은|어|음|혔|네)|밴\s|배었|눌어붙|눌러\s*붙|범벅|찌들|얼룩|안\s*(?:지워|빠져|빠지|닦|씻겨|없어)|"
    r"(?:지워|빠|닦|씻기|없어)\S{0,3}지\s*(?:않|도\s*않)|greasy|soiled|stained|(?:stuck|covered) (?:on|in|with)|"
    r"(?:won'?t|doesn'?t|can'?t) (?:come off|wash|get .{0,10}off)|residue|still (?:dirty|oily|greasy|sticky)",
    re.IGNORECASE,
)
"""Dirt on the thing that was talked about: what the dirt is of is not what is thrown away."""
_ORDINALS = (r"첫\s*번?째|1\s*번|첫\s*번|first", r"두\s*번?째|2\s*번|second", r"세\s*번?째|3\s*번|third")
WORDS = re.compile(r"[가-힣]{2}|[^\W\d_ㄱ-ㅎㅏ-ㅣ]{2}")
"""Two letters in a row: laughter (ㅎㅎ) and pictures ask nothing."""
LONGEST_HARM = 300
_STICKER = re.compile(r"스티커|딱지|필증|sticker", re.IGNORECASE)
_THERE = re.compile(r"거기|그곳|그쪽|\bthere\b|\bthey\b", re.IGNORECASE)
_DEPOSIT = re.compile(r"돌려\s*받|보증금|deposit|refund", re.IGNORECASE)
PAID = ("bulky", "construction", "ewaste_pickup")
"""Streams of things that a fee is asked about."""
LIVES = re.compile(
    r"^\s*(?:(?:아니[다요]?|아|음|네|저는?|나는?|전|난|여기는?|그럼|그러면|그게|우리\s*집은|사는\s*(?:곳|데)[은는]?)[\s,]+)*"
    r"(?:(?:서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주|충청|전라|경상)\S{0,5}\s+)?"
    r"(?P<place>[가-힣]{1,8}?(?:시|군|구))(?:요|이요|예요|이에요|입니다|이?야|인데요?|거든요?|이?면요?|이?라면요?|은요?|는요?|에?\s*(?:살아요?|삽니다|사는데요?))?"
    r"[.!?~]*\s*$|^\s*(?:(?:i'?m|i live|we live|it'?s|in|and|what about|how about)\s+)*(?P<en>\w+-(?:gu|gun|si))\b",
    re.IGNORECASE,
)
"""The answer to the question where somebody lives."""
LONGEST_FOLLOW_UP, LONGEST_IN_ENGLISH = 60, 110
"""Characters; who writes more names what it is about."""
_AGAIN = re.compile(r"^\s*(?:(?:아|음|그럼|근데|자|참|네|아니|아참)[\s,]+)?다시\s+(?=\S)")
"""Words before a thing that was talked about; together with it they may sound like another (다시팩)."""
BOTH = re.compile(
    r"둘\s*다|두\s*(?:개|가지)\s*(?:다|모두)|모두|전부|다\s*같이|같은\s*(?:통|곳|데|함|봉투)|같이\s*(?:버|내|넣)|"
    r"\bboth\b|\ball of them\b|\bthe same (?:bin|bag|place|box)\b|\btogether\b",
    re.IGNORECASE,
)
"""Words about all things of the last message."""
SAME = re.compile(
    r"(?:in |into |to )?\bthe same (?:bag|bin|box|place)\b|같은\s*(?:통|봉투|함|곳|데|박스|상자)", re.IGNORECASE
)
_WHY = re.compile(r"왜|\bwhy\b", re.IGNORECASE)
_AND = re.compile(r"(?:은|는|도)요?\W*$|^\W*(?:and|what about|how about)\b", re.IGNORECASE)
_ASKS = re.compile(r"\?|(?:나요?|까요?|되요?|돼요?|는요?|은요?|면요?|도요?)[~.!\s]*$")
_WRAPPED = r"(?:에다?가?|으?로)\s*(?:꽁꽁|잘|꼼꼼히|두껍게)?\s*(?:싸|담|넣|감싸|감아|묶|포장)"
"""After a word that says what something is wrapped in, which itself is not asked about."""
_CLEAN = re.compile(
    r"깨끗|씻|헹|닦|말리|말린|떼|제거|새\s*거|멀쩡|clean|wash|rins|remov|dry|dried|new\b", re.IGNORECASE
)
"""Words by which a thing is no more in the state that was told."""
_INSTEAD = re.compile(r"말고|아니라|아니고|\binstead of\b|\bnot (?:a|an|the)?\s*\w+,? but\b", re.IGNORECASE)
"""A thing is named to say that it is not meant."""


def understood(knowledge: Knowledge, question: Question) -> Understood:
    text, memory = _picked(_AGAIN.sub("", question.text), question.memory), question.memory
    if question.photo is not None:
        return _with_photo(knowledge, question, question.photo)
    if memory.photo and PHOTO_BEFORE.search(text):
        text, memory = seeing.without_words(text), memory.of_item(knowledge.items.get(memory.photo))
    if AGENT.search(text) and not recognising.emergency(knowledge, text) and not _how(text):
        asked = understand(knowledge, text)
        if not _grave(asked):
            return Understood(asked.lang, (Intent.GENERAL,), asked)
    if harmed := _harmed(knowledge, text, memory):
        return Understood(harmed.lang, (Intent.WASTE,), harmed, follows=True)
    asked, follows = _asked(knowledge, text, memory)
    if more := _more(text, asked, memory, follows):
        return Understood(asked.lang, more, asked, follows)
    intents = tuple(dict.fromkeys(_intents(knowledge, text, question, asked, follows)))
    return Understood(asked.lang, intents or (Intent.GENERAL,), asked, follows)


def _grave(asked: Asked) -> bool:
    """True where a message names something dangerous: whatever else it says, that is answered."""
    mentions = asked.reading.mentions
    things = [mention.subject for mention in mentions if isinstance(mention.subject, Item)]
    states = [situation for mention in mentions for situation in mention.situations]
    grave = any(map(dangerous, things)) or any(situation.kind == "safety" for situation in states)
    return grave or bool(asked.reading.dangers or DANGER.search(asked.text))


def _harmed(knowledge: Knowledge, text: str, memory: Memory) -> Asked | None:
    """The message as an emergency with one of the last things, where it tells of harm and names none."""
    if not HARM.search(text) or len(text) > LONGEST_HARM or recognising.emergency(knowledge, text):
        return None
    for thing in filter(None, (memory.thing, *memory.recent)):
        asked = understand(knowledge, f"{thing} {text}")
        if asked.emergency:
            return asked
    return None


def _more(text: str, asked: Asked, memory: Memory, follows: bool) -> tuple[Intent, ...]:
    """The intent of before, where a few words go on from it and say nothing of another."""
    if _long(text) or asked.emergency or small_talk(text):
        return ()
    if memory.subject == Intent.BULK_WASTE and _STICKER.search(text) and not DISPOSAL.search(text):
        return (Intent.BULK_WASTE,)
    if any(words.search(text) for words in (CHARACTER, POINTS, DRAW, PRICE, WEATHER, SEARCH, SHOP, CENTRE, NEAR)):
        return ()
    if memory.weather and DAY_ALONE.search(text):
        return (Intent.WEATHER,)
    if not memory.carried:
        return ()
    subject, named = Intent(memory.carried), bool((asked.mentions and not follows) or asked.reading.material)
    if subject is Intent.BULK_WASTE:
        if named and _paid_for(asked) and not DISPOSAL.search(text):
            return (Intent.WASTE, subject) if asked.mentions else (subject,)
        told = asked.place or asked.region or asked.district or lives(text) or _MORE[subject].search(text)
        return (subject,) if told and not named else ()
    if _how(text) or (follows and memory.dangerous):
        return ()
    if subject is Intent.RECYCLABLE_PRICE:
        if DISPOSAL.search(text) or _DEPOSIT.search(text):
            return ()
        return (subject,) if (named and not _paid_for(asked)) or _MORE[subject].search(text) else ()
    if subject in (Intent.COLLECTION_POINT, Intent.LOCATION):
        if named and _THERE.search(text):
            return (Intent.WASTE, subject)
        if lives(text):
            return (subject,)
    if subject is Intent.WEATHER and DISPOSAL.search(text):
        return ()
    if subject is Intent.IMAGE_GENERATION and _MORE[subject].search(text) and not DISPOSAL.search(text):
        return () if _grave(asked) else (subject,)
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
    whole, text = text, SAME.sub(" ", text).strip() or text
    alone = _in_district(knowledge, text, memory)
    told = (WORDS.search(text) or _WHY.search(text)) and not small_talk(text)
    if _long(text) or alone.emergency or not told:
        return alone, False
    if memory.topic and not (alone.mentions or alone.topics) and _goes_on(text, alone):
        together = _in_district(knowledge, f"{memory.topic} {text}", memory, alone.lang)
        if together.topics and not together.mentions:
            return together, True
    if not memory.thing:
        return alone, False
    if OFF_TOPIC.search(text) and not FEE.search(text):
        return alone, False
    picks = any(one.id in memory.kinds for one in _items(alone))
    soiled = SOILED.search(text) and not DISPOSAL.search(text) and not _on_it(text, alone)
    vague = (
        not alone.mentions
        or soiled
        or _WHY.search(text)
        or _wrapping(text, alone)
        or (PRONOUN.search(text) and "말고" not in text)
    )
    part_of = bool(alone.mentions) and all(isinstance(one.subject, Ambiguity) for one in alone.mentions)
    part_of = part_of and not _INSTEAD.search(text)
    if not (picks or vague or part_of) or alone.topics:
        return alone, False
    about = memory.said if picks or memory.dangerous or (soiled and memory.said) else memory.thing
    if _wrapping(text, alone):
        text = _without_wrapping(text, alone)
    if not _items(alone) and not memory.dangerous and BOTH.search(whole):
        about = ", ".join(memory.things or (*memory.recent[:1], memory.thing))
    elif memory.said and not alone.mentions and not alone.reading.situations and not _CLEAN.search(text):
        about = memory.said
    together = _in_district(knowledge, f"{about} {text}".strip(), memory, alone.lang)
    if not together.mentions and about != memory.thing:
        together = _in_district(knowledge, f"{memory.thing} {text}", memory, alone.lang)
    if part_of and not vague and not _items(together):
        return alone, False
    return (together, True) if together.mentions else (alone, False)


def _long(text: str) -> bool:
    return len(text) > (LONGEST_FOLLOW_UP if is_korean(text) else LONGEST_IN_ENGLISH)


def _goes_on(text: str, asked: Asked) -> bool:
    """True for a question, or a district."""
    return bool(asked.region or asked.place or lives(text) or _ASKS.search(text))


def _wrapping(text: str, asked: Asked) -> bool:
    """True where all that is named is what something else is put in (신문지에 싸서)."""
    terms = [re.escape(one.span.term) for one in asked.mentions]
    return bool(terms) and all(re.search(term + _WRAPPED, text) for term in terms)


def _without_wrapping(text: str, asked: Asked) -> str:
    for one in asked.mentions:
        text = re.sub(rf"{re.escape(one.span.term)}{_WRAPPED}\S*", " ", text)
    return text


def _on_it(text: str, asked: Asked) -> bool:
    """True where the dirt is on a thing that the message names itself (옷에 얼룩이)."""
    return any(re.search(rf"{re.escape(one.span.term)}에", text) for one in asked.mentions)


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
        for key, words in (("account", ACCOUNT), ("able", ABLE), ("thanks", THANKS), ("bye", BYE), ("greeting", HELLO)):
            if words.search(plain):
                return key
    return ""


def _intents(knowledge: Knowledge, text: str, question: Question, asked: Asked, follows: bool) -> list[Intent]:
    found: list[Intent] = []
    named = bool(asked.mentions or asked.topics or asked.reading.candidates or asked.reading.material)
    if asked.emergency:
        return [Intent.WASTE]
    if POINTS.search(text) and not DANGER.search(text) and not DISPOSAL.search(text):
        return [Intent.CHARACTER]
    if CHARACTER.search(text) or (WHO.search(text) and characters_in(knowledge, text)):
        found.append(Intent.CHARACTER)
    if DRAW.search(text):
        found.append(Intent.IMAGE_GENERATION)
    if (
        question.memory.last == Intent.CHARACTER
        and named
        and _AND.search(text)
        and not (found or DISPOSAL.search(text))
    ):
        return [Intent.CHARACTER, Intent.WASTE]  # who comes with it, or where it goes
    if not found and question.memory.last == Intent.CHARACTER and EARNED.search(text) and not DISPOSAL.search(text):
        found.append(Intent.CHARACTER)
    if PRICE.search(text) or (PRICE_OF.search(text) and not _paid_for(asked)):
        found.append(Intent.RECYCLABLE_PRICE)
    elif (BULKY.search(text) and (FEE.search(text) or APPLY.search(text))) or (FEE.search(text) and _paid_for(asked)):
        found.append(Intent.BULK_WASTE)
    if WEATHER.search(text) or (UMBRELLA.search(text) and not (named and DISPOSAL.search(text))):
        found.append(Intent.WEATHER)
    if SEARCH.search(text):
        found.append(Intent.WEB_SEARCH)
    if not found and not named and question.memory.last == Intent.CHARACTER and WHO.search(text):
        found.append(Intent.CHARACTER)
    place = _place(text, named, question, follows)
    given = place is not None and question.memory.wants_place and question.location is not None
    # Where bags are sold is answered by a sentence about them, not by a place that takes things.
    about_topic = bool(asked.topics) and not any(words.search(text) for words in (POINT, SHOP, CENTRE))
    told = about_topic or (named and (FEE.search(text) or (not follows and _how(text))))
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
    return re.search(r"어떻게|방법|버려|버리|how|\bgo(?:es)? (?:with|in|into)\b", text, re.IGNORECASE) is not None


def _place(text: str, named: bool, question: Question, follows: bool) -> Intent | None:
    """Intent of who looks for a place: a shop, or a point that takes a thing."""
    if (
        question.memory.wants_place
        and question.location is not None
        and len(text) <= LONGEST_FOLLOW_UP
        and (follows or not named)
    ):
        return Intent.COLLECTION_POINT if question.memory.thing else Intent.LOCATION
    near = NEAR.search(FIND.sub("", text) if SEARCH.search(text) else text) is not None
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
