"""Web Push: the example of RFC 8291, addresses that are sent to, and when."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from eco2.core.settings import load
from eco2.recycling import push, reminder_run, reminders
from eco2.recycling.push_settings import PushSettings
from eco2.recycling.settings import ApiSettings
from eco2.workers import batch

HOSTS = reminders.hosts()
NOW = datetime(2026, 12, 2, 10, 0, tzinfo=UTC)


def test_the_example_of_rfc_8291() -> None:
    sealed = push.seal(
        b"When I grow up, I want to be a watermelon",
        p256dh="BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        auth="BTBZMqHH6r4Tts7J_aSIgg",
        salt=push.bytes_of("DGv6ra1nlYgDCS1FRnbzlw"),
        own=push.Key.read("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw").private,
    )
    assert push.text_of(sealed) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95"
        "bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://fcm.googleapis.com/fcm/send/abc:def",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAA",
        "https://web.push.apple.com:443/QGuQyavXutnMH",
    ],
)
def test_known_push_services(endpoint: str) -> None:
    assert reminders.is_known(endpoint, HOSTS, None)


@pytest.mark.parametrize(
    "endpoint",
    [
        *("http://fcm.googleapis.com/x", "https://fcm.googleapis.com:8443/x", "https://user@fcm.googleapis.com/x"),
        *("https://fcm.googleapis.com.example.org/x", "https://example.org/fcm.googleapis.com", "https://127.0.0.1/x"),
        *(
            "https://fcm.googleapis.com@example.org/x",
            "https://fcm.googleapis.com/x y",
            "https://fcm.googleapis.com:x/",
        ),
        *(
            "//fcm.googleapis.com/x",
            "",
            "https://fcm.googleapis.com/\r\nHost: a",
            "https://fcm.googleapis.com\\@a.org/",
        ),
        "https://fcm.googleapis.com/x#a",
        *("http://127.0.0.1:10018/x", "https://evil.fcm.googleapis.com/x", "https://fcm.googleapis.com./x"),
    ],
)
def test_addresses_that_nothing_is_sent_to(endpoint: str) -> None:
    assert not reminders.is_known(endpoint, HOSTS, None)


def test_a_double_is_known_by_its_whole_origin() -> None:
    assert reminders.is_known("http://127.0.0.1:10018/x", HOSTS, "http://127.0.0.1:10018")
    assert not reminders.is_known("http://127.0.0.1:100189/x", HOSTS, "http://127.0.0.1:10018")


@pytest.mark.parametrize(
    ("clock", "day"), [("17:59", None), ("18:00", "2026-12-03"), ("22:59", "2026-12-03"), ("23:00", None)]
)
def test_it_is_told_in_the_evening_of_seoul(clock: str, day: str | None) -> None:
    hours, minutes = map(int, clock.split(":"))
    at = datetime(2026, 12, 2, hours, minutes, tzinfo=ZoneInfo("Asia/Seoul"))
    assert reminders.evening(at) == (date.fromisoformat(day) if day else None)


@pytest.mark.parametrize(("clock", "seconds"), [("19:00:00", 5 * 3600), ("22:59:59", 3601)])
def test_a_message_is_kept_until_tomorrow_begins(clock: str, seconds: int) -> None:
    at = datetime.combine(date(2026, 12, 2), time.fromisoformat(clock), ZoneInfo("Asia/Seoul"))
    assert reminders.seconds_until(date(2026, 12, 3), at) == seconds
    assert reminders.seconds_until(date(2026, 12, 2), at) == 0
    headers = push.Signer("https://eco2.example").headers("https://a.example/x", push.Key.make(), "topic", seconds)
    assert headers["TTL"] == str(seconds)


@pytest.mark.parametrize(
    ("said", "pause"),
    [
        ("120", timedelta(minutes=2)),
        ("999999", timedelta(hours=1)),
        ("9" * 30, None),
        ("Wed, 02 Dec 2026 10:05:00 GMT", timedelta(minutes=5)),
        ("Wed, 02 Dec 2020 10:05:00 GMT", timedelta(0)),
        *(("soon", None), ("-5", None), ("", None), (None, None)),
    ],
)
def test_pauses_that_a_push_service_asks_for(said: str | None, pause: timedelta | None) -> None:
    assert reminder_run.retry_after(said, NOW) == (None if pause is None else NOW + pause)


def test_keys_are_read_as_they_are_written() -> None:
    old, new = push.Key.make(), push.Key.make()
    assert list(push.read_keys(f"{new.text}, {old.text}")) == [new.public, old.public]
    assert push.read_keys("") == {}
    with pytest.raises(ValueError, match="32 bytes"):
        push.read_keys("abcd")
    assert new.text not in repr(new)


def test_a_public_key_of_other_private_keys_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = push.Key.make(), push.Key.make()
    monkeypatch.setenv("ECO2_PUSH_PUBLIC_KEY", own.public)
    for private in ("", own.text, f"{other.text},{own.text}"):
        monkeypatch.setenv("ECO2_PUSH_PRIVATE_KEYS", private)
        load(PushSettings)
    monkeypatch.setenv("ECO2_PUSH_PRIVATE_KEYS", other.text)
    with pytest.raises(SystemExit, match="belongs to none of ECO2_PUSH_PRIVATE_KEYS") as told:
        load(PushSettings)
    assert other.public in str(told.value)
    assert other.text not in str(told.value)


def test_batch_worker_holds_the_keys_against_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "run_worker", lambda *_: pytest.fail("it started"))
    monkeypatch.setattr(batch, "load", lambda group: load(group) if group is PushSettings else None)
    monkeypatch.setenv("ECO2_PUSH_PUBLIC_KEY", push.Key.make().public)
    monkeypatch.setenv("ECO2_PUSH_PRIVATE_KEYS", push.Key.make().text)
    with pytest.raises(SystemExit, match="ECO2_PUSH_PUBLIC_KEY"):
        batch.run()


@pytest.mark.parametrize("text", ["abcd", push.text_of(b"\x04" + bytes(64)), push.text_of(bytes(range(1, 33)))])
def test_what_is_no_public_key_is_not_offered(text: str) -> None:
    with pytest.raises(ValidationError, match="a public key is a point"):
        ApiSettings.model_validate({"push_public_key": text})
