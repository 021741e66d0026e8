"""Addresses of native apps: what an operator may list, and what a sign-in may name of it."""

import pytest

from eco2.auth import native
from eco2.auth.settings import NATIVE_REDIRECT
from eco2.auth.store import AppTarget

KNOWN = ("https://app.example/signed-in", "http://127.0.0.1/signed-in", "http://[::1]/in", "kr.example.app:/signed-in")


@pytest.mark.parametrize("uri", KNOWN)
def test_each_kind_can_be_listed_and_named(uri: str) -> None:
    assert NATIVE_REDIRECT.fullmatch(uri)
    assert native.is_known(KNOWN, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example/signed-in",
        "http://localhost/signed-in",
        "http://127.0.0.1:8000/signed-in",
        "app:/signed-in",
        "javascript:/signed-in",
        "https://app.example/signed-in?next=/",
        "https://app.example/#in",
        "https://user@app.example/in",
        "kr.example.app:signed-in",
        "",
    ],
)
def test_what_cannot_be_told_apart_is_not_listed(uri: str) -> None:
    assert not NATIVE_REDIRECT.fullmatch(uri)


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:1/signed-in", "http://127.0.0.1:65535/signed-in", "http://[::1]:8/in"]
)
def test_an_app_listens_at_any_port_of_the_loopback_address(uri: str) -> None:
    assert native.is_known(KNOWN, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:0/signed-in",
        "http://127.0.0.1:80:80/signed-in",
        "http://127.0.0.1:8000/signed-in?x=1",
        "http://127.0.0.1:8000/in",
        "http://127.0.0.1:8000/signed-in\nX: y",
        "https://app.example:443/signed-in",
        "https://app.example/signed-in/",
        "HTTPS://app.example/signed-in",
        "kr.example.app://signed-in",
        "kr.example.app2:/signed-in",
    ],
)
def test_anything_else_is_another_address(uri: str) -> None:
    assert not native.is_known(KNOWN, uri)


def test_the_answer_is_added_to_the_address() -> None:
    app = AppTarget("kr.example.app:/signed-in", "a&b=c", "")
    assert native.address(app, code="x") == "kr.example.app:/signed-in?code=x&state=a%26b%3Dc"
