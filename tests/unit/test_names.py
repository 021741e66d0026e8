"""Chosen names: something to read, nothing hidden, nobody's of the staff."""

import pytest

from eco2.character import leaderboard
from eco2.core import names
from eco2.my import service


@pytest.mark.parametrize(
    "text",
    [
        "\u3164\u3164",
        "\u115f\u1160",
        "\u200b\u200d",
        "\u202e",
        "  ",
        "\ufeff",
        "\u2800\u2800",
        "..",
        "·-·",
        "\u0301\u0301",
    ],
)
def test_names_that_show_nothing_are_refused(text: str) -> None:
    with pytest.raises(service.NicknameRefused):
        service.checked_nickname(text)
    with pytest.raises(leaderboard.NicknameRefused):
        leaderboard.checked_nickname(text)


@pytest.mark.parametrize(
    "text", ["초록\u200b나무", "\u202eneerg", "a\u2066b", "초록\u3164", "초\ufeff록", "tree\u00ad"]
)
def test_names_with_hidden_characters_are_refused(text: str) -> None:
    with pytest.raises(service.NicknameRefused):
        service.checked_nickname(text)
    with pytest.raises(leaderboard.NicknameRefused):
        leaderboard.checked_nickname(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "관리자",
            "운영자님",
            "이코에코 공식",
            "admin",
            "ADMIN",
            "Ad min",
            "adm1n",
            "@dmin",
            "аdmin",
            "admın",
            "ａｄｍｉｎ",
        ),
        *("Eco2 team", "고객센터", "관 리 자", "관리자", "staff", "official", "공식", "ADMlN", "ádmin", "root"),
    ],
)
def test_names_that_look_like_those_of_staff_are_on_no_board(text: str) -> None:
    with pytest.raises(leaderboard.NicknameRefused):
        leaderboard.checked_nickname(text)


@pytest.mark.parametrize("text", ["관리자", "admin", "ａｄｍｉｎ", "adm1n", "이코에코", "관리\u200b자"])
def test_they_are_in_no_profile_either(text: str) -> None:
    with pytest.raises(service.NicknameRefused):
        service.checked_nickname(text)


@pytest.mark.parametrize("text", ["аdmin", "Ωmega", "ecо", "ɑdam"])
def test_letters_that_pass_for_others_are_on_no_board(text: str) -> None:
    with pytest.raises(leaderboard.NicknameRefused):
        leaderboard.checked_nickname(text)


@pytest.mark.parametrize(
    "text",
    ["초록나무", "분리배출왕", "José", "green_tree-7", "이코친구 a1b2", "さくら", "小林", "지구·사랑", "공식을 외우자"],
)
def test_usual_names_are_taken_as_they_are(text: str) -> None:
    assert leaderboard.checked_nickname(text) == text
    assert service.checked_nickname(text) == text


def test_a_profile_may_have_symbols_and_other_scripts() -> None:
    for text in ("🌱 초록", "Ольга", "ناشئ"):
        assert service.checked_nickname(text) == text


def test_decomposed_hangul_is_composed() -> None:
    assert service.checked_nickname("\u110e\u1169\u1105\u1169\u11a8") == "초록"


@pytest.mark.parametrize("other", ["초록 나무", "초록-나무", "초 록나무"])
def test_names_that_look_the_same_have_one_key(other: str) -> None:
    assert names.key(other) == names.key("초록나무")


def test_names_that_look_different_have_different_keys() -> None:
    assert len({names.key(text) for text in ("초록나무", "초록나무2", "나무초록", "Green", "Greens")}) == 5
