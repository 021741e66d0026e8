"""A model's own words: small talk passes, whatever is about waste does not."""

import pytest

from eco2 import knowledge as kb
from eco2.chat.agent.own_words import LONGEST_SENTENCE, OwnWords

OWN_WORDS = OwnWords(kb.load())


@pytest.mark.parametrize(
    "sentence",
    [
        "안녕하세요, 만나서 반가워요!",
        "저는 이코예요.",
        "오늘도 좋은 하루 보내세요.",
        "무엇이든 편하게 물어보세요.",
        "Hello, nice to meet you!",
        "My name is Eco.",
    ],
)
def test_small_talk_passes(sentence: str) -> None:
    assert OWN_WORDS.allowed(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "페트병은 종량제봉투에 버리세요.",
        "건전지는 그냥 쓰레기통에 넣어도 돼요.",
        "우유팩도 괜찮아요.",
        "보조배터리는 물에 담가 두세요.",
        "형광등을 깨서 버려요.",
        "그건 변기에 흘려보내세요.",
        "부탄가스는 구멍을 뚫어요.",
        "태우면 됩니다.",
        "플라스틱이면 다 됩니다.",
        "락스와 식초를 섞으세요.",
        "Throw batteries into the general bin.",
        "Flush it down the toilet.",
        "You can burn it.",
        "Glass is fine, too.",
        "Pour the acid down the drain.",
    ],
)
def test_what_is_about_waste_does_not(sentence: str) -> None:
    assert not OWN_WORDS.allowed(sentence)


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_nothing_of_a_sentence_is_said_before_it_is_whole_and_allowed(size: int) -> None:
    text = "안녕하세요! 건전지는 일반 봉투에 버리세요. 반가워요.\n페트병은 그냥 두세요"
    said: list[str] = []

    async def say(piece: str) -> None:
        said.append(piece)

    async with OWN_WORDS.only(say) as sieve:
        for start in range(0, len(text), size):
            await sieve.take(text[start : start + size])
            assert not any(word in "".join(said) for word in ("건전지", "봉투", "페트병"))
    assert "".join(said).split() == ["안녕하세요!", "반가워요."]
    assert sieve.passed == "".join(said)


async def test_a_sentence_without_an_end_is_dropped() -> None:
    said: list[str] = []

    async def say(piece: str) -> None:
        said.append(piece)

    async with OWN_WORDS.only(say) as sieve:
        await sieve.take("반가워요 " * LONGEST_SENTENCE)
    assert said == []
