"""Conversations with a double of a paid model that is wrong at every point."""

from eco2 import knowledge as kb
from eco2.chat.evaluation import Talker, conversations
from eco2.chat.scripted import WORDS, Scripted
from eco2.knowledge.knowledge import DANGEROUS

KNOWLEDGE = kb.load()
ROUND = conversations(kb.default_directory())["00-2026-11-30"]


async def test_a_model_that_is_wrong_at_every_point_makes_nothing_dangerous() -> None:
    wrong, without = Talker(KNOWLEDGE, Scripted("wrong"), "any"), Talker(KNOWLEDGE, None, "")
    for conversation in ROUND:
        for told, rules in zip(await wrong.talk(conversation), await without.talk(conversation), strict=True):
            assert "must_not" not in told.faults, told
            for sentence in WORDS["wrong"].split(". "):
                assert sentence.strip(".") not in told.answer
            dangerous = [stream for stream in rules.got if stream in DANGEROUS]
            assert set(dangerous) <= set(told.got), (
                "what was said of a dangerous thing is said whatever the model calls"
            )
