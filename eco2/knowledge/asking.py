"""Answering a question about waste from the rules, in process and without a model."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eco2.knowledge import regions
from eco2.knowledge.answer import (
    Advice,
    Lang,
    advise,
    ask_which,
    decide,
    drop_offs,
    exception_text,
    lead,
    listed,
    localized,
    names_of,
    remarks,
    varies,
)
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import Ambiguity, Item, Region, Situation, Source
from eco2.knowledge.reading import Mention, Reading, read
from eco2.knowledge.words.index import names as item_names
from eco2.knowledge.words.text import bounded, is_korean, normalize

LONGEST_QUESTION = 500
MAX_ITEMS = 8
MAX_DONTS, MAX_EXCEPTIONS, MAX_REGIONAL = 4, 3, 2

INJECTION = re.compile(
    r"(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:instruction|prompt|rule|previous|above|"
    r"guideline|told)|"
    r"(?:system|developer)\s*(?:prompt|message|mode)|jailbreak|\bact as\b|pretend (?:to be|you)|you are now|"
    r"do anything now|"
    r"(?:reveal|print|show|repeat)\b.{0,30}\b(?:prompt|instruction|secret|password|api.?key)|<\|?/?(?:system|"
    r"im_start|script)|"
    r"(?:지시|명령|규칙|프롬프트|설정|안내)\S{0,4}\s*(?:사항\S{0,2}\s*)?(?:은|는|을|를|들?을)?\s*(?:다|모두|"
    r"전부|싹)?\s*"
    r"(?:무시|잊어|잊고|지워|바꿔|어기)|시스템\s*(?:프롬프트|메시지|명령)|프롬프트\S{0,3}\s*(?:보여|출력|알려|공개)|"
    r"(?:관리자|개발자|디버그)\s*모드|(?:너는|넌|당신은)\s*(?:이제|지금부터)|역할극|인\s*척|탈옥|"
    r"라고만?\s*(?:대답|답|말)(?:해|하)|"
    r"비밀번호|api\s*키|drop\s+table|select\s+.{1,40}\s+from\s",
    re.IGNORECASE,
)
"""Attempts to make a model do something else. No model reads the question here, but they ask for no advice."""
DISPOSAL = re.compile(
    r"버리|버려|버릴|버림|분리|재활용|수거|배출|폐기|처분|처리|쓰레기|내놓|내놔|봉투|수거함|버렸|뿌리|보증금|"
    r"반납|환불|종량|음쓰|어디에|어디다|"
    r"어따|어데|없애|치우|치워|throw|dispos|recycl|trash|garbage|rubbish|\bbins?\b|waste|get rid|discard|sort|"
    r"deposit|"
    r"return|refund|drop.?off|dump|collect|toss|chuck|where (?:do|does|should|can|to)|go(?:es)? in",
    re.IGNORECASE,
)
OFF_TOPIC = re.compile(
    r"날씨|주식|코인|환율|번역|레시피|요리법|만드는\s*법|만들어\s*줘|끓이는|맛집|추천|영화(?!표)|선물.{0,6}(?:추천|뭐|좋|고르|골라)|노래|가사|소설|"
    r"시\s*(?:한|써)|농담|로또|여자\s*친구|남자\s*친구|"
    r"연애|게임|축구|야구|대통령|정치|수학|코드|파이썬|자바|프로그램|몇\s*살|이름이\s*뭐|누구|사랑해|심심|뉴스|"
    r"여행지|비행기\s*표|예약해|사고\s*싶|"
    r"살까|사야|최저가|가격\s*비교|할인|교체\s*비용|수리\s*비|충전이?\s*안|고치는|weather|stock price|bitcoin|"
    r"translate|recipe|cook\b|movie|song|lyric|"
    r"poem|joke|girlfriend|boyfriend|football|soccer|president|politic|homework|python|javascript|write (?:a|"
    r"me|some)|who are you|your name|"
    r"recommend|best (?:laptop|phone)|buy\b|cheapest|how much does|repair|fix my|capital of|\d+\s*[+*x]\s*\d+",
    re.IGNORECASE,
)
DANGER = re.compile(
    r"폭발|화약|총알|실탄|방사|수류탄|포탄|탄피|레진|에폭시|경화제|시너|독극|독한|독성|산성|염산|황산|질산|"
    r"가스|화학|약품|시약|수은|석면|기름통|"
    r"정체\s*모를|정체불명|모르는\s*액체|"
    r"explosive|grenade|bomb\b|epoxy|resin|hardener|solvent|thinner|ammunition|bullet|radioact|poison|toxic|"
    r"acid|chemical|gas cylinder|mercury|asbestos|"
    r"unknown liquid|flammable",
    re.IGNORECASE,
)
WHEN = re.compile(
    r"요일|며칠|언제|몇\s*시|시간|날짜|배출일|수거일|what day|which day|when|what time|schedule", re.IGNORECASE
)
UNSURE = re.compile(
    r"(?:종류|재질|어떤|무슨|뭔지|어느).{0,12}(?:모르|몰라|모름|헷갈)|not sure (?:which|what)|"
    r"(?:don't|dont|do not|no idea) (?:know )?(?:which|what) (?:kind|type|sort|one)|"
    r"which (?:kind|type) (?:is it|i have|it is)",
    re.IGNORECASE,
)
"""The person does not know which of the things that a word names it is."""

TEXTS: dict[str, dict[Lang, str]] = {
    "refused": {
        "ko": "저는 분리배출만 안내해요. 버릴 물건의 이름을 알려 주시면 버리는 방법을 알려 드릴게요.",
        "en": "I can only help with sorting waste in Korea. Tell me the item you want to throw away.",
    },
    "unknown": {
        "ko": "어떤 물건인지 아직 모르겠어요. 물건의 이름과 재질(종이·플라스틱·유리·금속 등)을 알려 주시겠어요? "
        "급하면 지역번호+120이나 주민센터에 물어보세요.",
        "en": "I do not know this item yet. What is it called, and what is it made of (paper, plastic, glass, metal)? "
        "If it is urgent, ask 120 or your community centre (주민센터).",
    },
    "danger": {
        "ko": "위험할 수 있는 물건이에요. 봉투나 하수구에 버리지 말고, 밀봉해 따로 두고 "
        "지역번호+120이나 주민센터에 먼저 물어보세요.",
        "en": "It may be dangerous. Do not put it in a bag or down the drain: seal it, keep it apart, and ask 120 or "
        "your community centre (주민센터) first.",
    },
    "danger_name": {"ko": "위험할 수 있는 물건", "en": "A thing that may be dangerous"},
    "danger_step": {
        "ko": "건드리지 말고 따로 두세요. 불·연기·폭발물이 의심되면 피하고 119나 112에 신고하세요.",
        "en": "Do not touch it and keep it apart. If you suspect fire or explosives, leave and "
        "call 119 or 112 (police).",
    },
    "danger_dont": {
        "ko": "봉투·하수구·재활용에 넣지 마세요.",
        "en": "Do not put it in a bag, a drain or the recycling.",
    },
    "which": {"ko": "혹시 {names} 가운데 하나인가요?", "en": "Do you mean one of these: {names}?"},
    "assumed": {"ko": "‘{said}’을(를) {name}(으)로 보고 안내해요.", "en": 'I take "{said}" as: {name}.'},
    "same": {"ko": "{said}: {name}와(과) 같은 방법으로 버려 주세요.", "en": "{said}: the same way as {name}."},
    "dont": {"ko": "주의: ", "en": "Do not: "},
    "exception": {"ko": "예외 – ", "en": "Exception – "},
    "varies": {
        "ko": "시·군·구마다 기준이 다를 수 있어요. 사는 곳(시·군·구)을 알려 주시면 맞춰 안내할게요.",
        "en": "Districts differ on this. Tell me your city or district (si/gun/gu) and I will check its rules.",
    },
    "no_region": {
        "ko": "‘{district}’의 자료는 아직 없어 전국 기준으로 안내해요. 다른 점은 구청이나 지역번호+120에 확인하세요.",
        "en": 'I have no data for "{district}" yet; this is the national rule. '
        "Check differences with your district office or 120.",
    },
    "which_region": {
        "ko": "‘{district}’은(는) 여러 곳에 있어요. {names} 가운데 어디인가요?",
        "en": '"{district}" exists in several places. Which one: {names}?',
    },
    "deposit": {"ko": "이 병의 보증금은 {krw}원이에요.", "en": "The deposit on this bottle is {krw} won."},
    "deposits": {"ko": "보증금은 크기로 정해져요: {tiers}.", "en": "Deposits by size: {tiers}."},
    "basis": {"ko": "근거: {names}", "en": "Legal basis: {names}"},
}


def say(key: str, lang: Lang, **values: object) -> str:
    return TEXTS[key][lang].format(**values)


@dataclass(frozen=True)
class Asked:
    """A question as understood. `district` is what was given for a region that could not be found."""

    text: str
    lang: Lang
    reading: Reading
    region: Region | None
    district: str
    refused: bool
    which_region: tuple[Region, ...] = ()


def understand(knowledge: Knowledge, question: str, district: str | None = None, lang: Lang | None = None) -> Asked:
    text = bounded(question.strip()[:LONGEST_QUESTION])
    language: Lang = lang or ("ko" if is_korean(text) else "en")
    if INJECTION.search(text):
        return Asked(text, language, Reading(), None, "", refused=True)
    found = regions.find(knowledge, district) if district else regions.named_in(knowledge, text)
    reading = read(knowledge, regions.without(knowledge, text))
    named = reading.mentions or reading.candidates or reading.material
    refused = not DISPOSAL.search(text) and (bool(OFF_TOPIC.search(text)) or not (named or _tells_more(found, text)))
    lost = district if district and len(found) != 1 else ""
    if district and not found:
        found = regions.above(knowledge, district)
    region = found[0] if len(found) == 1 else None
    return Asked(text, language, reading, region, lost or "", refused, tuple(found) if len(found) > 1 else ())


def _tells_more(found: Sequence[Region], text: str) -> bool:
    return bool(found) or DANGER.search(text) is not None


def ask(knowledge: Knowledge, question: str, district: str | None = None, lang: Lang | None = None) -> dict[str, Any]:
    """`{lang, district, items, answer, clarify?, candidates?}`; `items` is empty where there is nothing to advise."""
    return answer(knowledge, understand(knowledge, question, district, lang))


def answer(knowledge: Knowledge, asked: Asked) -> dict[str, Any]:
    lang = asked.lang
    if asked.refused:
        return _body(asked, [], [say("refused", lang)])
    mentions = asked.reading.mentions[:MAX_ITEMS]
    parts: list[str] = []
    items: list[dict[str, Any]] = []
    questions: list[str] = []
    candidates: list[Item] = []
    for mention in mentions:
        item = _item(knowledge, mention, asked.region)
        if open_question := _open_question(knowledge, asked, mention):
            meant = [knowledge.item(name) for name in open_question.candidates]
            candidates += meant
            questions.append(ask_which(names_of(meant, lang), knowledge.situation_book.unknown, open_question, lang))
        if item:
            advice = advise(knowledge, item, mention.situations, lang, asked.region)
            said = _said(item, mention) if any(item.id == other["item"] for other in items) else ""
            items.append(entry(knowledge, advice, lang) | ({"name": said} if said else {}))
            parts.append(text_of(knowledge, advice, asked, mention))
            if said and parts[-1] in parts[:-1]:
                parts[-1] = say("same", lang, said=said, name=localized(item, "", lang))
    if not mentions and DANGER.search(asked.text):
        items.append(_unknown_danger(knowledge, lang))
    if not mentions:
        parts, questions, candidates = _nothing_named(asked)
    if asked.which_region:
        names = ", ".join(localized(region, "", lang) for region in asked.which_region)
        questions.append(say("which_region", lang, district=asked.district or names, names=names))
    elif asked.district:
        parts.append(say("no_region", lang, district=asked.district))
    if asked.region and (WHEN.search(asked.text) or not mentions):
        parts += regions.collections(asked.region, lang)
    return _body(asked, items, [*parts, *questions], " ".join(questions), candidates)


def advices(knowledge: Knowledge, asked: Asked) -> list[Advice]:
    """The advice about each thing of the question that is answered."""
    mentions = asked.reading.mentions[:MAX_ITEMS]
    found = ((mention, _item(knowledge, mention, asked.region)) for mention in mentions)
    return [advise(knowledge, item, mention.situations, asked.lang, asked.region) for mention, item in found if item]


def _item(knowledge: Knowledge, mention: Mention, region: Region | None) -> Item | None:
    """What is answered: of an ambiguous word what its situation leaves, or what it nearly always means, if anything."""
    if isinstance(mention.subject, Item):
        return mention.subject
    return _settled(knowledge, mention, region) or knowledge.items.get(mention.subject.default or "")


def _said(item: Item, mention: Mention) -> str:
    """The word that a thing was called by, as the item's names write it."""
    written = {normalize(name): name for name in item_names(item)}
    return written.get(mention.span.term, mention.guessed or mention.span.term)


def _open_question(knowledge: Knowledge, asked: Asked, mention: Mention) -> Ambiguity | None:
    """What is to be asked back about a thing, if anything: also where somebody says not to know the kind."""
    if isinstance(mention.subject, Ambiguity):
        return None if _settled(knowledge, mention, asked.region) else mention.subject
    if not UNSURE.search(asked.text):
        return None
    item, said = mention.subject.id, mention.span.term
    near = (a for a in knowledge.taxonomy.ambiguous if item in a.candidates)
    return next((a for a in near if any(normalize(word) in said for word in (a.term, *a.terms_en))), None)


def _settled(knowledge: Knowledge, mention: Mention, region: Region | None) -> Item | None:
    """An item of an ambiguous word where what was told makes it go to one place, whichever it is: broken glass."""
    assert isinstance(mention.subject, Ambiguity)
    meant = [knowledge.item(name) for name in mention.subject.candidates]
    outcomes = {item.id: decide(knowledge, item, mention.situations, region) for item in meant}
    moved = [item for item in meant if isinstance(outcomes[item.id].cause, Situation)]
    streams = {outcomes[item.id].stream for item in moved}
    if len(streams) != 1:
        return None
    return next((item for item in meant if item.stream in streams), moved[0])


def _nothing_named(asked: Asked) -> tuple[list[str], list[str], list[Item]]:
    lang, reading = asked.lang, asked.reading
    if DANGER.search(asked.text):
        return [say("danger", lang)], [say("unknown", lang)], []
    if reading.candidates:
        return [], [say("which", lang, names=names_of(reading.candidates, lang))], list(reading.candidates)
    if asked.region and WHEN.search(asked.text):
        return [], [], []
    return [], [say("unknown", lang)], []


def _body(
    asked: Asked, items: list[dict[str, Any]], parts: Iterable[str], clarify: str = "", candidates: Sequence[Item] = ()
) -> dict[str, Any]:
    lang = asked.lang
    body: dict[str, Any] = {
        "lang": lang,
        "district": {"id": asked.region.id, "name": localized(asked.region, "", lang)} if asked.region else None,
        "items": items,
        "answer": "\n\n".join(part for part in parts if part),
    }
    if clarify:
        body["clarify"] = clarify
    if candidates:
        choices = {item.id: item for item in candidates}.values()
        body["candidates"] = [{"item": c.id, "name": localized(c, "", lang), "stream": c.stream} for c in choices]
    return body


def entry(knowledge: Knowledge, advice: Advice, lang: Lang) -> dict[str, Any]:
    """One of `items` of an answer."""
    item, stream = advice.item, advice.outcome.stream
    streams = [stream, item.stream, *item.alt_streams]
    places = drop_offs(knowledge, item, stream)
    return {
        "item": item.id,
        "name": localized(item, "", lang),
        "stream": stream,
        "stream_name": localized(knowledge.stream(stream), "", lang),
        "streams": list(dict.fromkeys(streams)),
        "situations": [situation.id for situation in advice.situations],
        "steps": list(advice.steps),
        "donts": list(advice.donts[:MAX_DONTS]),
        "drop_off": [
            {"id": p.id, "name": localized(p, "", lang), "where": localized(p, "where", lang)} for p in places
        ],
        "sources": [_source(source) for source in sources(knowledge, advice)],
        "confidence": item.confidence,
    }


def _unknown_danger(knowledge: Knowledge, lang: Lang) -> dict[str, Any]:
    """The entry of a thing that is not known and may be dangerous: somebody has to be asked."""
    stream = knowledge.stream("professional")
    rule = knowledge.rule(stream.id)
    return {
        "item": None,
        "name": say("danger_name", lang),
        "stream": stream.id,
        "stream_name": localized(stream, "", lang),
        "streams": [stream.id],
        "situations": [],
        "steps": [say("danger_step", lang), *(localized(step, "", lang) for step in rule.steps)],
        "donts": [say("danger_dont", lang)],
        "drop_off": [],
        "sources": [_source(knowledge.sources[name]) for name in rule.sources],
        "confidence": "low",
    }


def sources(knowledge: Knowledge, advice: Advice) -> list[Source]:
    """What the advice rests on."""
    rule = knowledge.rule(advice.outcome.stream)
    cause = advice.outcome.cause
    names = [*advice.item.sources, *rule.sources, *(cause.sources if cause else ())]
    names += [name for override in advice.overrides for name in override.sources]
    return [knowledge.sources[name] for name in dict.fromkeys(names) if name in knowledge.sources]


def _source(source: Source) -> dict[str, str]:
    return source.model_dump(exclude_defaults=True)


def text_of(knowledge: Knowledge, advice: Advice, asked: Asked, mention: Mention) -> str:
    return "\n".join(dict.fromkeys(line for line in _lines(knowledge, advice, asked, mention) if line))


def _lines(knowledge: Knowledge, advice: Advice, asked: Asked, mention: Mention) -> Iterator[str]:
    lang, item = asked.lang, advice.item
    if mention.guessed:
        yield say("assumed", lang, said=mention.guessed, name=localized(item, "", lang))
    yield " ".join(filter(None, lead(knowledge, advice, lang)))
    yield from (f"{number}. {step}" for number, step in enumerate(advice.steps, start=1))
    yield " ".join(dict.fromkeys(filter(None, remarks(knowledge, advice, lang))))
    donts = advice.donts[:MAX_DONTS]
    yield say("dont", lang) + " ".join(donts) if donts else ""
    exceptions = [exception_text(case, lang) for case in advice.exceptions[:MAX_EXCEPTIONS]]
    yield from (say("exception", lang) + text for text in exceptions if text)
    yield from _deposit(knowledge, advice, lang)
    for place in drop_offs(knowledge, item, advice.outcome.stream)[:1]:
        yield localized(place, "where", lang)
    if asked.region is None and not asked.district and varies(knowledge, item):
        yield " ".join(listed(knowledge.rule(item.stream), "regional", lang)[:MAX_REGIONAL])
        yield say("varies", lang)


def _deposit(knowledge: Knowledge, advice: Advice, lang: Lang) -> Iterator[str]:
    if advice.outcome.stream != "bottle_return":
        return
    if advice.item.deposit_krw:
        yield say("deposit", lang, krw=advice.item.deposit_krw)
    won = "원" if lang == "ko" else " won"
    tiers = [f"{localized(tier, 'volume', lang)} {tier.krw}{won}" for tier in knowledge.rulebook.deposits]
    if tiers:
        yield say("deposits", lang, tiers=", ".join(tiers))
