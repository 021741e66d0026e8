"""Answering a question about waste from the rules, in process and without a model."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eco2.knowledge import recognising, regions, telling
from eco2.knowledge.answer import Advice, Lang, Say, advise, drop_offs, listed, localized, unique
from eco2.knowledge.attribution import dangerous, dangers, meant, settled
from eco2.knowledge.composing import ask_which, names_of
from eco2.knowledge.heads import may_have_held
from eco2.knowledge.knowledge import DANGEROUS, Knowledge
from eco2.knowledge.mentions import Mention, Reading, name_of
from eco2.knowledge.models import Ambiguity, Emergency, Item, Region, Situation, Source, Topic
from eco2.knowledge.reading import read
from eco2.knowledge.words.index import names as item_names
from eco2.knowledge.words.text import bounded, is_korean, normalize, topic
from eco2.knowledge.words.vocabulary import COMPOUND

LONGEST_QUESTION = 500
MAX_ITEMS = 8
MAX_DONTS = 4
MANY = 3
"""Things that are a list of what is thrown away, whatever else is asked."""

DISPOSAL = re.compile(
    r"버리|버려|버릴|버린|버림|분리|재활용|수거|배출|폐기|처분|처리|쓰레기|내놓|내놔|봉투|수거함|버렸|뿌리|보증금|"
    r"반납|환불|종량|음쓰|어디에|어디다|"
    r"어따|어데|없애|치우|치워|throw|dispos|recycl|trash|garbage|rubbish|\bbins?\b|waste|get rid|discard|sort|"
    r"deposit|"
    r"return|refund|drop.?off|dump|collect|toss|chuck|where (?:do|does|should|can|to)|go(?:es)? in",
    re.IGNORECASE,
)
REQUEST = re.compile(
    r"레시피|요리법|만드는\s*법|만들어\s*줘|끓이는|맛집|추천\S{0,3}\s*(?:해|좀|부탁)|번역|날씨|(?:시|소설|가사|노래)\S?\s*(?:한|써|불러)|농담|"
    r"사고\s*싶|살까|최저가|가격\s*비교|고치는|translate|recipe|\bcook\b|write (?:a|me|some)|poem|joke|lyric|"
    r"recommend|best (?:laptop|phone)|cheapest|repair|fix my|weather",
    re.IGNORECASE,
)
"""Wishes about a thing that is not to be thrown away."""
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
NO_WASTE = re.compile(
    r"주식|코인|성적|학점|인생|미련|습관|사랑|마음을|감정|남친|여친|남자\s*친구|여자\s*친구|전\s?남친|상사|직장|회사를|"
    r"자존심|걱정|스트레스|멘탈|몸무게|뱃살|살을|나이를|"
    r"\bex\b|\bexes\b|boyfriend|girlfriend|my husband|my boss|my job|my life|feelings|worries|habit|hiccups|headache|"
    r"my grades|stocks|bitcoin|love handles",
    re.IGNORECASE,
)
"""Things that people would like to be rid of and that are no waste."""
DANGER = re.compile(
    r"폭발|화약|총알|실탄|방사|수류탄|포탄|탄피|레진|에폭시|경화제|시너|독극|독한|독성|산성|염산|황산|질산|"
    r"가스|화학|약품|시약|수은|석면|기름통|"
    r"정체\s*모를|정체불명|모르는\s*액체|"
    r"explosive|grenade|bomb\b|epoxy|resin|hardener|solvent|thinner|ammunition|bullet|radioact|poison|toxic|"
    r"acid|chemical|gas cylinder|mercury|asbestos|"
    r"unknown liquid|flammable",
    re.IGNORECASE,
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
        "If it is urgent, ask 120 or your community centre.",
    },
    "danger": {
        "ko": "위험할 수 있는 물건이에요. 봉투나 하수구에 버리지 말고, 밀봉해 따로 두고 "
        "지역번호+120이나 주민센터에 먼저 물어보세요.",
        "en": "It may be dangerous. Do not put it in a bag or down the drain: seal it, keep it apart, and ask 120 or "
        "your community centre first.",
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
    "more": {
        "ko": "한 번에 여덟 가지까지 안내해요. 이어서 물어봐 주세요: {names}.",
        "en": "I answer eight things at a time. Ask again about: {names}.",
    },
    "after_emergency": {
        "ko": "버리는 일은 위험이 지나간 뒤에 하세요.",
        "en": "Dispose of it only once the danger is over.",
    },
    "unread": {
        "ko": "무엇인지 알아듣지 못한 말이 있어요: {names}. 위험할 수 있으면 봉투에 넣지 말고 다시 물어봐 주세요.",
        "en": "I did not understand: {names}. If it may be dangerous keep it out of the bag and ask again.",
    },
    "region_above": {
        "ko": "{region} 기준이에요. {district}에서 다르게 정했을 수 있으니 구청이나 지역번호+120에 확인하세요.",
        "en": "These are the rules of {region}. Your district may differ: check with its office or 120.",
    },
    "which": {"ko": "혹시 {names} 가운데 하나인가요?", "en": "Do you mean one of these: {names}?"},
    "assumed": {"ko": "‘{said}’ 대신 {name} 기준으로 안내해요.", "en": 'I take "{said}" as: {name}.'},
    "same": {"ko": "{said} {name} 방법 그대로 버려 주세요.", "en": "{said}: the same way as {name}."},
    "several": {"ko": "{names}: 모두 같은 방법이에요.", "en": "{names}: all the same way."},
    "no_region": {
        "ko": "‘{district}’의 자료는 아직 없어 전국 기준으로 안내해요. 다른 점은 구청이나 지역번호+120에 확인하세요.",
        "en": 'I have no data for "{district}" yet; this is the national rule. '
        "Check differences with your district office or 120.",
    },
    "ask_region": {
        "ko": "어느 시·군·구에 사세요? 알려 주시면 그 동네 안내를 찾아볼게요.",
        "en": "Which city or district (si, gun or gu) do you live in? I will look up its notice.",
    },
    "which_region": {
        "ko": "‘{district}’ 이름을 쓰는 곳이 여럿이에요. {names} 가운데 어디인가요?",
        "en": '"{district}" exists in several places. Which one: {names}?',
    },
}


def say(key: str, lang: Lang, **values: object) -> str:
    return TEXTS[key][lang].format(**values)


@dataclass(frozen=True)
class Asked:
    """A question as understood. `place`: the district that was named, `region` the one whose rules are known and hold
    there; `district` is what was given for a place that is not known at all. `to_be_rid_of`: the question says that
    somebody wants to be rid of a thing, so that it is told about beside what the system does with it."""

    text: str
    lang: Lang
    reading: Reading
    region: Region | None
    place: str
    district: str
    refused: bool
    which_region: tuple[Region, ...] = ()
    emergency: Emergency | None = None
    topics: tuple[Topic, ...] = ()
    to_be_rid_of: bool = False

    @property
    def mentions(self) -> Sequence[Mention]:
        """Things to answer: not those that only say what a question about the system is about, unless a danger is
        named beside them."""
        alone = any(one.alone for one in self.topics) and not (self.emergency or self.to_be_rid_of)
        found = self.reading.mentions
        if not alone or len(found) >= MANY:
            return found
        grave = [one for one in found if isinstance(one.subject, Item) and dangerous(one.subject)]
        return grave if len({name_of(one.subject) for one in found}) > 1 else ()


def understand(knowledge: Knowledge, question: str, district: str | None = None, lang: Lang | None = None) -> Asked:
    """Whatever is no question about waste is refused, unless it names a known thing, a danger or a district."""
    text = bounded(question.strip()[:LONGEST_QUESTION])
    language: Lang = lang or ("ko" if is_korean(text) else "en")
    place = regions.placed(knowledge, district, text)
    reading = read(knowledge, place.rest)
    emergency, topics = recognising.emergency(knowledge, text), tuple(recognising.topics(knowledge, text))
    named = reading.mentions or reading.candidates or reading.material
    sure = emergency or topics or DANGER.search(text) or _dangers(knowledge, reading)
    told = sure or reading.mentions or reading.dangers
    off_topic = OFF_TOPIC.search(text) or not (named or place.found)
    return Asked(
        text=text,
        lang=language,
        reading=reading,
        region=place.region,
        place=place.name,
        district=place.lost,
        refused=_refused(text, sure=bool(sure), told=bool(told), off_topic=bool(off_topic)),
        which_region=place.several,
        emergency=emergency,
        topics=topics,
        to_be_rid_of=recognising.wanted(knowledge, text),
    )


def _refused(text: str, *, sure: bool, told: bool, off_topic: bool) -> bool:
    if DISPOSAL.search(text):
        return not told and NO_WASTE.search(text) is not None
    return (not told and off_topic) or (not sure and REQUEST.search(text) is not None)


def ask(knowledge: Knowledge, question: str, district: str | None = None, lang: Lang | None = None) -> dict[str, Any]:
    """`{lang, district, items, answer, emergency?, topics?, clarify?, candidates?}`; `items` is empty where there is no
    thing to advise about."""
    return answer(knowledge, understand(knowledge, question, district, lang))


def answer(knowledge: Knowledge, asked: Asked) -> dict[str, Any]:
    """Danger of now, then each thing, then how collection works, then what is not known."""
    lang = asked.lang
    if asked.refused:
        return _body(asked, [], [say("refused", lang)])
    first = [emergency_text(asked.emergency, lang)] if asked.emergency else []
    parts, items, questions, candidates = _about_things(knowledge, asked)
    topics = [topic_text(one, asked) for one in asked.topics]
    if not items and not asked.emergency and not asked.topics:
        told = _dangers_told(knowledge, asked)
        if told or asked.reading.dangers or DANGER.search(asked.text):
            parts += told or [say("danger", lang)]
            items.append(_unknown_danger(knowledge, lang))
    if not (items or questions or topics or first):
        more, questions, candidates = _nothing_named(asked)
        parts += more
    elif items and items[0]["item"] is None and not topics:
        questions = questions or [say("unknown", lang)]
    named = bool(items or topics)
    return _body(
        asked, items, [*first, *parts, *topics, *_of_region(asked, named, questions), *questions], questions, candidates
    )


def _about_things(knowledge: Knowledge, asked: Asked) -> tuple[list[str], list[dict[str, Any]], list[str], list[Item]]:
    """(text of each thing, its entry, what is to be asked back, what may be meant)."""
    lang, parts, questions = asked.lang, list[str](), list[str]()
    items, candidates = list[dict[str, Any]](), list[Item]()
    if asked.emergency and asked.emergency.alone:
        return parts, items, questions, candidates
    things = _things(knowledge, asked)
    answered = [mention for mention, _ in things]
    for mention, item in things:
        if not asked.emergency and (open_question := _open_question(knowledge, asked, mention)):
            choices = [knowledge.item(name) for name in open_question.candidates]
            candidates += choices
            questions.append(ask_which(names_of(choices, lang), knowledge.situation_book.unknown, open_question, lang))
        if item:
            advice = _advice(knowledge, asked, mention, item)
            said = _said(item, mention) if mention and any(item.id == other["item"] for other in items) else ""
            several = _all_said(item, mention)
            name = ", ".join(several) or said
            items.append(entry(knowledge, advice, lang) | ({"name": name} if name else {}))
            parts.append(text_of(knowledge, advice, asked, mention))
            if several:
                parts[-1] = f"{say('several', lang, names=name)}\n{parts[-1]}"
            if said and parts[-1] in parts[:-1]:
                parts[-1] = say(
                    "same", lang, said=topic(said) if lang == "ko" else said, name=localized(item, "", lang)
                )
    parts = [*_kept_apart(knowledge, {item.id for _, item in things if item}, lang), *parts]
    if left := [mention for mention in asked.mentions if mention not in answered and not asked.emergency]:
        parts.append(say("more", lang, names=", ".join(mention.span.term for mention in left)))
    if parts and asked.emergency:
        parts.insert(0, say("after_emergency", lang))
    if unread := [word for word in asked.reading.unread if not (asked.emergency and recognising.told(knowledge, word))]:
        parts.append(say("unread", lang, names=", ".join(unread)))
    return parts, items, questions, candidates


def _kept_apart(knowledge: Knowledge, named: set[str], lang: Lang) -> list[str]:
    """Warning about agents that are named together and must not mix, before all that is told of each."""
    return [
        localized(agents, "say", lang) for agents in knowledge.emergencies.apart if len(named & {*agents.items}) > 1
    ]


def _things(knowledge: Knowledge, asked: Asked) -> list[tuple[Mention | None, Item | None]]:
    """Things to answer, dangerous ones first where there are too many. In an emergency only those."""
    found: list[tuple[Mention | None, Item | None]] = [
        (mention, meant(knowledge, mention, asked.region)) for mention in asked.mentions
    ]
    grave = [pair for pair in found if pair[1] and dangerous(pair[1])]
    if asked.emergency:
        instead = asked.emergency.items
        fits = [pair for pair in grave if not instead or (pair[1] and _of(pair[1], instead))]
        return fits[:MAX_ITEMS] or [(None, knowledge.item(name)) for name in instead]
    kept = [*grave, *(pair for pair in found if pair not in grave)][:MAX_ITEMS]
    return [pair for pair in found if pair in kept]


def _of(item: Item, names: Sequence[str]) -> bool:
    return item.id in names or item.stream in DANGEROUS


def emergency_text(emergency: Emergency, lang: Lang) -> str:
    return "\n".join(listed(emergency, "first", lang))


def topic_text(about: Topic, asked: Asked) -> str:
    """Answer to a question about the system, with what the district is known to do."""
    lines = [localized(about, "answer", asked.lang)]
    if about.region:
        lines += regions.about(asked.region, asked.place or asked.district, about.region, asked.lang)
    return "\n".join(filter(None, [*lines, localized(about, "varies", asked.lang)]))


def _of_region(asked: Asked, named: bool, questions: list[str]) -> list[str]:
    """Sentence about the district: whose rules were applied, or which one is meant; its days where nothing else is
    asked."""
    lang = asked.lang
    if asked.which_region:
        names = ", ".join(localized(region, "", lang) for region in asked.which_region)
        questions.append(say("which_region", lang, district=asked.district or names, names=names))
        return []
    if not (asked.region or asked.place or asked.district) and any(one.region == "collections" for one in asked.topics):
        questions.append(say("ask_region", lang))
        return []
    if asked.region and not named and not asked.emergency:
        questions.clear()
        return regions.about(asked.region, asked.place, "collections", lang)
    if asked.region and asked.place and named:
        return [say("region_above", lang, district=asked.place, region=localized(asked.region, "", lang))]
    if asked.district or (asked.place and asked.region is None and not asked.topics):
        return [say("no_region", lang, district=asked.district or asked.place)]
    return []


def may_choose(asked: Asked) -> bool:
    """True where the answer is about things alone, so that what is told of them may be chosen."""
    return bool(asked.mentions) and not (asked.emergency or asked.topics or asked.reading.unread)


def with_parts(body: dict[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    """The answer with other words about its things."""
    return {**body, "answer": "\n\n".join(filter(None, [*parts, body.get("clarify")]))}


def advices(knowledge: Knowledge, asked: Asked) -> list[Advice]:
    """The advice about each thing of the question that is answered."""
    return [_advice(knowledge, asked, mention, item) for mention, item in _things(knowledge, asked) if item]


def _advice(knowledge: Knowledge, asked: Asked, mention: Mention | None, item: Item) -> Advice:
    """The advice about a thing; of a container of something unknown also what holds if that is dangerous."""
    advice = advise(knowledge, item, mention.situations if mention else (), asked.lang, asked.region)
    compound = mention and mention.guessed and mention.span.term.startswith(COMPOUND)
    if not (compound and mention and may_have_held(knowledge, mention.guessed)):
        return advice
    text = localized(knowledge.lexicon.heads, "careful", asked.lang)
    return replace(advice, warnings=(*advice.warnings, Say("compound.careful", text, safety=True)))


def _said(item: Item, mention: Mention) -> str:
    """The word that a thing was called by, as the item's names write it."""
    written = {normalize(name): name for name in item_names(item)}
    return written.get(mention.span.term, mention.guessed or mention.span.term)


def _all_said(item: Item, mention: Mention | None) -> list[str]:
    """The words for things of one item that share a section: "벨트, 모자"."""
    if mention is None or not mention.also:
        return []
    others = (replace(mention, span=span, guessed="") for span in mention.also)
    return unique([_said(item, one) for one in (mention, *others)])


def _open_question(knowledge: Knowledge, asked: Asked, mention: Mention | None) -> Ambiguity | None:
    """Question to ask back about a thing, if any: also where somebody says not to know the kind."""
    if mention is None:
        return None
    if isinstance(mention.subject, Ambiguity):
        return None if settled(knowledge, mention, asked.region) else mention.subject
    if not UNSURE.search(asked.text):
        return None
    item, said = mention.subject.id, mention.span.term
    near = (a for a in knowledge.taxonomy.ambiguous if item in a.candidates)
    return next((a for a in near if any(normalize(word) in said for word in (a.term, *a.terms_en))), None)


def _dangers(knowledge: Knowledge, reading: Reading) -> list[Situation]:
    return dangers(knowledge, [], reading.situations) if not reading.mentions else []


def _dangers_told(knowledge: Knowledge, asked: Asked) -> list[str]:
    """Steps about a danger whose thing is not known: safety first, then the question."""
    about = _dangers(knowledge, asked.reading)
    told = [localized(situation, field, asked.lang) for situation in about for field in situation.safety]
    return unique([" ".join(unique(told))])


def _nothing_named(asked: Asked) -> tuple[list[str], list[str], list[Item]]:
    lang, reading = asked.lang, asked.reading
    if reading.candidates:
        return [], [say("which", lang, names=names_of(reading.candidates, lang))], list(reading.candidates)
    return [], [say("unknown", lang)], []


def _body(
    asked: Asked,
    items: list[dict[str, Any]],
    parts: Iterable[str],
    questions: Sequence[str] = (),
    candidates: Sequence[Item] = (),
) -> dict[str, Any]:
    lang, clarify = asked.lang, " ".join(unique(questions))
    body: dict[str, Any] = {
        "lang": lang,
        "district": {"id": asked.region.id, "name": localized(asked.region, "", lang)} if asked.region else None,
        "items": items,
        "answer": "\n\n".join(unique(parts)),
    }
    if asked.emergency:
        first = listed(asked.emergency, "first", lang)
        body["emergency"] = {"id": asked.emergency.id, "call": asked.emergency.call, "first": list(first)}
    if asked.topics:
        body["topics"] = [{"id": one.id, "name": localized(one, "", lang)} for one in asked.topics]
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
    """Sources that the advice rests on."""
    rule = knowledge.rule(advice.outcome.stream)
    cause = advice.outcome.cause
    names = [*advice.item.sources, *rule.sources, *(cause.sources if cause else ())]
    names += [name for override in advice.overrides for name in override.sources]
    return [knowledge.sources[name] for name in dict.fromkeys(names) if name in knowledge.sources]


def _source(source: Source) -> dict[str, str]:
    return source.model_dump(exclude_defaults=True)


def text_of(knowledge: Knowledge, advice: Advice, asked: Asked, mention: Mention | None) -> str:
    lines = telling.lines(knowledge, advice, asked.lang, known=bool(asked.region or asked.district))
    if mention and mention.guessed:
        lines.insert(0, say("assumed", asked.lang, said=mention.guessed, name=localized(advice.item, "", asked.lang)))
    return "\n".join(lines)
