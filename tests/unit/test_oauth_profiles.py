"""Profiles as providers send them: what is taken of them, and what is not."""

from typing import Any

import pytest

from eco2.auth.oauth import NICKNAME_MAX, PROVIDERS, Profile


def google(**fields: Any) -> Profile:
    return PROVIDERS["google"].read({"sub": "1", **fields})


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("https://images.example.com/a.png?size=1&x=%20", True),
        ("https://images.example.com:8443/a", True),
        ("https://images.example.com", True),
        ("http://images.example.com/a.png", False),
        ("HTTPS://images.example.com/a.png", False),
        ("//images.example.com/a.png", False),
        ("javascript:alert(1)", False),
        ("data:image/png;base64,AA", False),
        ("https://user:password@images.example.com/a.png", False),
        ("https://images.example.com/a.png\n", False),
        ("https://images.example.com/a\\b", False),
        ('https://images.example.com/"onload="x', False),
        ("https://images.example.com/<script>", False),
        ("https:///a.png", False),
        ("https://images.example.com/" + "a" * 2000, False),
        ({"url": "https://images.example.com/a.png"}, False),
        (None, False),
    ],
    ids=str,
)
def test_a_picture_is_an_https_address(value: object, taken: bool) -> None:
    assert google(picture=value).image_url == (value if taken else None)


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("하늘", "하늘"),
        ("  Anna\r\n\tSky ", "Anna Sky"),
        ("a\x00b\x7fc", "a b c"),
        ("\ud83d", None),
        ("", None),
        (" \n ", None),
        ("x" * 500, "x" * NICKNAME_MAX),
        ({"name": "x"}, None),
        (["x"], None),
        (17, None),
        (True, None),
    ],
    ids=ascii,
)
def test_a_nickname_is_one_line_of_text(value: object, taken: str | None) -> None:
    assert google(given_name=value).nickname == taken


def test_another_name_stands_in_for_the_given_one() -> None:
    assert google(given_name=["x"], name="Anna Sky").nickname == "Anna Sky"


@pytest.mark.parametrize("value", ["no address", "a@b c", "a@b\n", "@", "a" * 400 + "@b", ["a@b"], 1])
def test_an_email_address_that_is_none_is_left_out(value: object) -> None:
    assert google(email=value, email_verified=True).email is None


@pytest.mark.parametrize(
    ("verified", "taken"), [(True, True), (False, False), ("true", False), (1, False), (None, False)]
)
def test_only_a_verified_email_address_is_taken(verified: object, taken: bool) -> None:
    assert google(email="a@example.com", email_verified=verified).email == ("a@example.com" if taken else None)


@pytest.mark.parametrize("value", ["", None, True, 1.5, {}, [], "x" * 300, "a\nb", "\ud83d"], ids=ascii)
def test_without_an_id_there_is_no_profile(value: object) -> None:
    with pytest.raises(ValueError, match="no id"):
        google(sub=value)


@pytest.mark.parametrize(
    "body", [{"id": 1}, {"id": 1, "kakao_account": []}, {"id": 1, "kakao_account": {"profile": 1}}]
)
def test_what_kakao_was_not_allowed_to_tell_is_missing(body: dict[str, Any]) -> None:
    assert PROVIDERS["kakao"].read(body) == Profile("kakao", "1")
