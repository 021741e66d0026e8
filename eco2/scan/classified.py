"""Class, stream and situations of a rule, as the contract names them."""

from collections.abc import Sequence

from eco2 import knowledge as kb
from eco2.knowledge import Knowledge, Situation
from eco2.scan.outputs import Classes, Classified, Meta, Rule, Stream

UNKNOWN = "미확인"
"""Class of a photo that could not be told; no class of the taxonomy has this name."""


def situations_of(knowledge: Knowledge, rule: Rule) -> Sequence[Situation]:
    """Those of a rule; one stored by another version may name some that are gone."""
    return [knowledge.situations[name] for name in rule.situations if name in knowledge.situations]


def stream(knowledge: Knowledge, rule: Rule) -> Stream | None:
    """Collection stream of the item in its situations: an addition to the contract that older clients ignore."""
    if rule.stream_id is None:
        return None
    found = knowledge.stream(rule.stream_id)
    return Stream(found.id, found.ko, found.en, found.kind)


def classification(knowledge: Knowledge, rule: Rule, user_input: str | None) -> Classified:
    """`classification_result` of the contract."""
    classes = Classes(UNKNOWN, UNKNOWN, UNKNOWN)
    about = [item for option in rule.candidates if (item := knowledge.resolve(option.minor_category))]
    if known := rule.item_id or rule.material:
        item = knowledge.item(known)
        about = [item] if rule.item_id else [item, *about]
        found = kb.classified(knowledge, item, rule.stream_id or item.stream)
        minor = found.minor_category if rule.item_id else UNKNOWN
        classes = Classes(found.major_category, found.middle_category, minor)
    streams = dict.fromkeys(filter(None, [rule.stream_id]))
    tags = [
        situation.ko
        for situation in situations_of(knowledge, rule)
        if any(knowledge.applies(situation, one, stream) for one in about for stream in (one.stream, *streams))
        or (not about and not situation.safety)
    ]
    return Classified(classes, tuple(tags), Meta(user_input or ""))
