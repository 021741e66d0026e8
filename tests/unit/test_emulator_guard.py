"""An emulator answers programs and its own pages, no page of another site."""

import pytest

from eco2.local.emulators.guard import is_from_here


def headers(*pairs: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in pairs]


@pytest.mark.parametrize("host", ["127.0.0.1:10046", "localhost:10046", "localhost", "[::1]:10046", "LOCALHOST:1"])
def test_programs_and_its_own_pages_are_served(host: str) -> None:
    assert is_from_here(headers(("host", host)))
    assert is_from_here(headers(("host", host), ("origin", f"http://{host}")))


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.example",
        "http://localhost:5173",
        "https://127.0.0.1:10046",
        "http://127.0.0.1:10046.evil",
    ],
)
def test_a_page_of_another_origin_is_not(origin: str) -> None:
    assert not is_from_here(headers(("host", "127.0.0.1:10046"), ("origin", origin)))


@pytest.mark.parametrize(
    "host",
    ["evil.example:10046", "127.0.0.1.evil.example", "localhost.evil", "", "127.0.0.1:port", "a@127.0.0.1", "10.0.0.1"],
)
def test_a_name_that_was_pointed_here_is_not(host: str) -> None:
    assert not is_from_here(headers(("host", host)))
    assert not is_from_here(headers(("host", host), ("origin", f"http://{host}")))


def test_one_host_and_every_origin_count() -> None:
    own = ("host", "127.0.0.1:1")
    assert not is_from_here([])
    assert not is_from_here(headers(own, own))
    assert not is_from_here(headers(own, ("origin", "http://127.0.0.1:1"), ("origin", "https://evil.example")))
