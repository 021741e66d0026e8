"""The catalogue in the clients' form: the rule of an item's stream, and the major classes."""

from functools import lru_cache

from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import Item


def disposal_rules(knowledge: Knowledge, item: Item) -> dict[str, object]:
    """The rule of the item's stream in the shape clients know; to be read, since it is made once."""
    return _disposal_rules(knowledge, item.id)


@lru_cache(maxsize=1024)
def _disposal_rules(knowledge: Knowledge, item_id: str) -> dict[str, object]:
    item = knowledge.item(item_id)
    stream, rule = knowledge.stream(item.stream), knowledge.rule(item.stream)
    neighbours = [other for other in knowledge.items.values() if other.stream == stream.id]
    kinds = dict.fromkeys(other.group for other in neighbours)
    titles = {group.id: group.ko for group in knowledge.taxonomy.groups}
    basis = [law.ko for law in knowledge.rulebook.legal_basis if law.id in rule.basis]
    return {
        "key": stream.id,
        "category": item.classification.major_category,
        "이름": stream.ko,
        "대상_품목": [other.ko for other in neighbours],
        "대상_설명": [*rule.do_ko, *rule.regional_ko, *(f"근거: {title}" for title in basis)],
        "세부_품목": {titles[kind]: [n.ko for n in neighbours if n.group == kind] for kind in kinds},
        "배출방법_공통": [step.ko for step in rule.steps],
        "배출방법_세부": {item.ko: list(dict.fromkeys(filter(None, [*item.steps_ko, item.note_ko])))},
        "배출불가_품목_안내": {
            **{case.when: case.ko for case in rule.exceptions},
            **({"하지 말 것": " ".join(rule.dont_ko)} if rule.dont_ko else {}),
        },
        "아이콘_절차": [knowledge.rulebook.step_labels[step.code] for step in rule.steps],
        "source_url": knowledge.rulebook.guide_url,
    }


def categories(knowledge: Knowledge) -> list[dict[str, object]]:
    """One entry for each major class: `{id, name, display_name, instructions}`."""
    return [
        {
            "id": major.id,
            "name": major.name,
            "display_name": major.display_ko,
            "instructions": list(major.instructions_ko),
        }
        for major in knowledge.taxonomy.majors
    ]
