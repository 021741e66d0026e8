"""Reminders: sent the evening before to a double of a push service that decrypts them, once, and never elsewhere."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import http_ece
import jwt
import orjson
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from eco2 import knowledge
from eco2.cli.main import app
from eco2.core import migrations
from eco2.core.fetch import Limits
from eco2.core.postgres import Database, open_database
from eco2.knowledge import holidays
from eco2.knowledge.days import Area
from eco2.knowledge.districts import Districts
from eco2.knowledge.models import Pickup
from eco2.recycling import push, reminder_run, reminder_store, reminders, store
from eco2.recycling.reminder_run import ReminderSettings
from eco2.recycling.reminders import Offer, Wish
from tests.conftest import FromStack
from tests.databases import new_database

KNOWLEDGE = knowledge.load()
DISTRICTS = Districts.load(None)
THURSDAY = date(2026, 12, 3)
FILM = Pickup(collection="vinyl", days=("thu",), from_time="18:00", until_time="24:00")
FOOD = Pickup(collection="food", days=("thu", "fri"))
TWO_AREAS = [
    Area("1구역", "가동", (FILM, FOOD)),
    Area("2구역", "나동", (FILM.model_copy(update={"days": ("mon",)}),)),
]
KEY = push.Key.make()
NOTHING = {"day": "2026-12-03", "sent": 0, "strays": 0, "gone": 0, "refused": 0, "later": 0}


@dataclass
class Browser:
    """A subscription, as a browser makes it; it alone can read what is sent."""

    path: str = field(default_factory=lambda: uuid4().hex)
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = field(default_factory=lambda: os.urandom(16))

    @property
    def p256dh(self) -> str:
        return push.text_of(self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    def read(self, body: bytes) -> dict[str, str]:
        return orjson.loads(http_ece.decrypt(body, private_key=self.private, auth_secret=self.auth))  # type: ignore[no-any-return]


@dataclass
class PushService:
    """Double of a push service. `answers`: status and headers by path (0: hangs up); by default a message is taken."""

    url: str = ""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    before: Callable[[], Awaitable[None]] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        if self.before:
            await self.before()
        path = request.path.strip("/")
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((path, headers, await request.read()))
        status, more = self.answers.get(path, (201, {}))
        if not status and request.transport:
            request.transport.close()
        return web.Response(status=status, headers=more)

    def of(self, browser: Browser) -> list[tuple[dict[str, str], bytes]]:
        return [(headers, body) for path, headers, body in self.got if path == browser.path]


@asynccontextmanager
async def serving() -> AsyncIterator[PushService]:
    service = PushService()
    app = web.Application()
    app.router.add_post("/{path}", service.handle)
    runner = web.AppRunner(app, handler_cancellation=True)  # what hangs ends with its client
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    service.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        yield service
    finally:
        await runner.cleanup()


@dataclass
class Town:
    """A district with two areas, its push service, and a way to subscribe and to send."""

    db: Database
    settings: ReminderSettings
    service: PushService
    district: str

    async def subscribe(self, browser: Browser, user: UUID | None = None, area: str = "1구역", **wish: object) -> UUID:
        user = user or uuid4()
        offer = Offer(KEY.public, frozenset(), self.service.url)
        asked = Wish(
            endpoint=f"{self.service.url}/{browser.path}",
            p256dh=browser.p256dh,
            auth=push.text_of(browser.auth),
            public_key=KEY.public,
            district=self.district,
            area=area,
        )
        await reminders.put(self.db, offer, KNOWLEDGE, DISTRICTS, user, replace(asked, **wish))  # type: ignore[arg-type]
        return user

    async def send(self, day: date = THURSDAY) -> dict[str, object]:
        return dict((await reminder_run.remind(self.settings, day)).result)

    async def kept(self, user: UUID) -> list[reminder_store.Reminder]:
        return await reminder_store.of_user(self.db, user)

    async def pauses_are_over(self) -> None:
        await self.db.run("UPDATE recycling.reminders SET try_after = now() WHERE try_after IS NOT NULL")


@pytest.fixture(scope="module")
def database_url(environment: dict[str, str]) -> Iterator[str]:
    """A migrated database that is gone afterwards: the stack's own sender takes no rows from it."""
    with new_database(environment["ECO2_DATABASE_URL"], "reminders") as url:
        migrations.upgrade(url)
        yield url


@pytest.fixture
async def town(database_url: str, settings: FromStack) -> AsyncIterator[Town]:
    district = "경상북도 고령군"
    own = settings(ReminderSettings).model_copy(update={"database_url": database_url})
    async with open_database(own, repeat=True) as database, serving() as service:
        await database.run("DELETE FROM recycling.reminders")
        await store.swap(database, [(district, area, date(2026, 6, 30)) for area in TWO_AREAS], sample=False)
        keys = {"push_private_keys": KEY.text, "push_emulator_url": service.url}
        yield Town(database, own.model_copy(update=keys), service, district)


def test_the_stack_of_tests_offers_reminders_and_sends_none(environment: dict[str, str], settings: FromStack) -> None:
    """Rows of other tests have addresses of real push services, and its scheduler runs in the evening, too."""
    assert settings(ReminderSettings).push_private_keys == ""
    assert environment["ECO2_PUSH_PUBLIC_KEY"]


async def test_a_browser_reads_what_is_put_out_tomorrow(town: Town) -> None:
    ko, en, other = Browser(), Browser(), Browser()
    await town.subscribe(ko)
    await town.subscribe(en, lang="en", collections=("vinyl",))
    await town.subscribe(other, area="2구역")
    assert await town.send() == {**NOTHING, "sent": 2}
    ((headers, body),) = town.service.of(ko)
    assert ko.read(body) == {
        "title": "내일 내놓는 날: 음식물, 비닐류",
        "body": "고령군 1구역 · 18:00–24:00",
        "tag": "collection-2026-12-03",
        "lang": "ko",
        "url": "/calendar",
    }
    assert (headers["content-encoding"], headers["topic"]) == ("aes128gcm", "collection-2026-12-03")
    token, key = headers["authorization"].removeprefix("vapid t=").split(", k=")
    assert key == KEY.public
    told = jwt.decode(token, KEY.private.public_key(), algorithms=["ES256"], audience=town.service.url)
    assert told["sub"] == town.settings.public_url
    assert told["exp"] < datetime.now(UTC).timestamp() + 24 * 3600
    ((_, body),) = town.service.of(en)
    assert en.read(body)["title"] == "Put out tomorrow: Film plastics"
    assert town.service.of(other) == []


async def test_a_day_is_told_once_and_the_next_day_again(town: Town) -> None:
    browser = Browser()
    await town.subscribe(browser)
    assert [(await town.send())["sent"] for _ in range(2)] == [1, 0]
    assert (await town.send(THURSDAY + timedelta(days=1)))["sent"] == 1
    assert len(town.service.of(browser)) == 2


async def test_two_senders_at_once_send_each_message_once(town: Town) -> None:
    browsers = [Browser() for _ in range(20)]
    for browser in browsers:
        await town.subscribe(browser)
    results = await asyncio.gather(town.send(), town.send())
    assert sum(int(str(one["sent"])) for one in results) == len(browsers)
    assert all(len(town.service.of(browser)) == 1 for browser in browsers)


async def test_who_dies_after_a_message_went_out_sends_it_again_with_the_same_tag(town: Town) -> None:
    browser, arrived = Browser(), asyncio.Event()
    await town.subscribe(browser)

    async def hold() -> None:
        arrived.set()
        await asyncio.Event().wait()

    town.service.before = hold
    dying = asyncio.create_task(town.send())
    await arrived.wait()
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    town.service.before = None
    assert (await town.send())["sent"] == 0, "somebody else's for as long as the lease"
    await town.pauses_are_over()
    assert (await town.send())["sent"] == 1
    assert {headers["topic"] for headers, _ in town.service.of(browser)} == {"collection-2026-12-03"}


@pytest.mark.parametrize("status", [404, 410])
async def test_an_ended_subscription_is_removed(town: Town, status: int) -> None:
    browser = Browser()
    user = await town.subscribe(browser)
    town.service.answers[browser.path] = (status, {})
    assert (await town.send())["gone"] == 1
    assert await town.kept(user) == []


async def test_a_busy_service_is_left_alone_for_as_long_as_it_says(town: Town) -> None:
    first = Browser()
    user = await town.subscribe(first)
    town.service.answers[first.path] = (429, {"Retry-After": "1200"})
    before = datetime.now(UTC)
    assert (await town.send())["later"] == 1
    ((at,),) = await town.db.rows("SELECT try_after FROM recycling.reminders")
    assert timedelta(seconds=1190) < at - before < timedelta(seconds=1300)
    assert (await town.send())["sent"] == 0
    assert len(town.service.of(first)) == 1
    town.service.answers.clear()
    await town.pauses_are_over()
    assert (await town.send())["sent"] == 1
    assert len(await town.kept(user)) == 1


async def test_who_asks_to_be_called_at_once_is_called_in_the_next_run(town: Town) -> None:
    browser = Browser()
    await town.subscribe(browser)
    town.service.answers[browser.path] = (503, {"Retry-After": "0"})
    assert (await town.send())["later"] == 1
    assert len(town.service.of(browser)) == 1


@pytest.mark.parametrize("status", [500, 503, 302])
async def test_an_answer_that_is_none_leaves_the_reminder(town: Town, status: int) -> None:
    """A redirect leads nowhere: the message goes to the address of the subscription or to none."""
    browser = Browser()
    user = await town.subscribe(browser)
    town.service.answers[browser.path] = (status, {"Location": f"{town.service.url}/elsewhere"})
    result = await town.send()
    assert result["refused" if status == 302 else "later"] == 1
    assert len(await town.kept(user)) == 1
    assert [path for path, _, _ in town.service.got] == [browser.path]


async def test_a_service_that_is_away_holds_up_nobody(town: Town) -> None:
    away, there = Browser(), Browser()
    await town.subscribe(away)
    await town.subscribe(there)
    town.service.answers[away.path] = (0, {})
    result = await town.send()
    assert (result["sent"], result["later"]) == (1, 1)


async def test_a_service_that_hangs_is_left_alone_for_the_run(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LIMITS": Limits(seconds=0.5, hops=0), "AT_ONCE": 1}.items():
        monkeypatch.setattr(reminder_run, name, value)
    browsers = [Browser() for _ in range(3 * reminder_run.MOST_SILENCES)]
    for browser in browsers:
        await town.subscribe(browser)
    asked: list[None] = []

    async def hang() -> None:
        asked.append(None)
        await asyncio.Event().wait()

    town.service.before = hang
    result = await town.send()
    assert (result["sent"], result["later"]) == (0, len(browsers))
    assert len(asked) <= reminder_run.MOST_SILENCES


async def test_who_was_not_tried_yet_comes_before_who_was(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reminder_run, "BATCH", 1)
    first, second = sorted((Browser(), Browser()), key=lambda one: reminders.id_of(f"{town.service.url}/{one.path}"))
    await town.subscribe(first)
    await town.subscribe(second)
    sql = "UPDATE recycling.reminders SET try_after = now() WHERE id = %(id)s"
    await town.db.run(sql, id=reminders.id_of(f"{town.service.url}/{first.path}"))
    assert (await town.send())["sent"] == 2
    assert [path for path, _, _ in town.service.got] == [second.path, first.path]


async def test_a_reminder_that_cannot_be_sent_holds_up_nobody(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    broken, whole = Browser(), Browser()
    user = await town.subscribe(broken)
    await town.subscribe(whole)
    await town.db.run("UPDATE recycling.reminders SET p256dh = 'AAAA' WHERE user_id = %(user)s", user=user)
    result = await town.send()
    assert (result["sent"], result["later"]) == (1, 1)
    assert broken.path not in caplog.text
    assert (await town.send())["later"] == 0, "the next run tries it again, not this one's rest"


async def test_who_changes_a_reminder_is_told_of_the_day_again(town: Town) -> None:
    browser = Browser()
    user = await town.subscribe(browser)
    assert (await town.send())["sent"] == 1
    await town.subscribe(browser, user)
    assert (await town.send())["sent"] == 0
    await town.subscribe(browser, user, collections=("food",))
    assert (await town.send())["sent"] == 1
    await town.subscribe(browser, collections=("food",))
    assert (await town.send())["sent"] == 1


async def test_browsers_that_subscribe_at_once_are_ten_at_most(town: Town) -> None:
    user = uuid4()
    asked = [town.subscribe(Browser(), user) for _ in range(2 * reminders.BROWSERS)]
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, reminders.TooManyBrowsers) for one in ended) == reminders.BROWSERS
    assert len(await town.kept(user)) == reminders.BROWSERS


async def test_who_is_refused_every_evening_is_stopped_and_goes_on_after_a_tap(town: Town) -> None:
    browser = Browser()
    user = await town.subscribe(browser)
    town.service.answers[browser.path] = (403, {})
    for week in range(reminder_store.MOST_REFUSALS):
        assert [one.stopped for one in await town.kept(user)] == [None]
        assert (await town.send(THURSDAY + timedelta(weeks=week)))["refused"] == 1
    assert [one.stopped for one in await town.kept(user)] == ["refused"]
    assert await reminder_store.counts(town.db) == {"subscribed": 1, "told": 0, "refused": 1, "stopped": 1}
    town.service.answers.clear()
    asked = len(town.service.got)
    later = THURSDAY + timedelta(weeks=9)
    assert (await town.send(later))["sent"] == 0
    assert len(town.service.got) == asked, "nothing is tried"
    await town.subscribe(browser, user)
    assert [one.stopped for one in await town.kept(user)] == [None]
    assert (await town.send(later))["sent"] == 1


async def test_who_is_put_off_every_evening_is_stopped(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    browser = Browser()
    user = await town.subscribe(browser)
    town.service.answers[browser.path] = (500, {})
    evenings = [THURSDAY + timedelta(weeks=week) for week in range(reminder_store.MOST_DELAYS)]
    for day in sorted(evenings + evenings[:-1]):  # two tries of one evening count once
        assert [one.stopped for one in await town.kept(user)] == [None]
        assert (await town.send(day))["later"] == 1
        await town.pauses_are_over()
    assert [one.stopped for one in await town.kept(user)] == ["delayed"]
    assert "a reminder is stopped" in caplog.text
    asked = len(town.service.got)
    assert (await town.send(THURSDAY + timedelta(weeks=20)))["later"] == 0
    assert len(town.service.got) == asked


async def test_evenings_that_were_put_off_are_forgotten_once_a_message_is_taken(town: Town) -> None:
    browser = Browser()
    user = await town.subscribe(browser)
    for week in range(2 * reminder_store.MOST_DELAYS):
        town.service.answers = {browser.path: (500, {})} if week % reminder_store.MOST_DELAYS else {}
        await town.send(THURSDAY + timedelta(weeks=week))
        await town.pauses_are_over()
    assert [one.stopped for one in await town.kept(user)] == [None]


async def test_who_does_not_answer_at_all_stops_nobody(town: Town) -> None:
    """It is our connection, or the whole service, and never the one browser."""
    browser = Browser()
    user = await town.subscribe(browser)
    town.service.answers[browser.path] = (0, {})
    for week in range(reminder_store.MOST_DELAYS):
        assert (await town.send(THURSDAY + timedelta(weeks=week)))["later"] == 1
        await town.pauses_are_over()
    assert [one.stopped for one in await town.kept(user)] == [None]


async def test_a_former_key_reaches_who_subscribed_with_it(town: Town) -> None:
    browser, fresh = Browser(), push.Key.make()
    await town.subscribe(browser)
    town.settings = town.settings.model_copy(update={"push_private_keys": f"{fresh.text},{KEY.text}"})
    assert (await town.send())["sent"] == 1
    assert town.service.of(browser)[0][0]["authorization"].endswith(f"k={KEY.public}")


async def test_a_wrong_key_costs_nobody_a_reminder(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    """Neither while no reminder has a known key, nor once a new one has."""
    old, young, wrong = Browser(), Browser(), push.Key.make()
    user = await town.subscribe(old)
    right = town.settings
    town.settings = right.model_copy(update={"push_private_keys": wrong.text})
    assert (await town.send())["sent"] == 0
    new = await town.subscribe(young)
    await town.db.run(
        "UPDATE recycling.reminders SET public_key = %(key)s WHERE user_id = %(user)s", key=wrong.public, user=new
    )
    for week in range(1, 2 + reminder_store.MOST_REFUSALS):
        result = await town.send(THURSDAY + timedelta(weeks=week))
        assert (result["sent"], result["refused"]) == (1, 0)
    assert "ECO2_PUSH_PRIVATE_KEYS" in caplog.text
    assert [one.stopped for one in await town.kept(user)] == ["key"]
    assert await reminder_store.by_key(town.db) == {KEY.public: 1, wrong.public: 1}
    town.settings = right.model_copy(update={"push_private_keys": f"{wrong.text},{KEY.text}"})
    assert (await town.send(THURSDAY + timedelta(weeks=20)))["sent"] == 2
    assert [one.stopped for one in await town.kept(user)] == [None]


@pytest.mark.parametrize("wanted", [(), ("food",)])
async def test_who_had_an_area_that_is_no_more_is_told_once_and_goes_on_when_it_is_back(
    town: Town, wanted: tuple[str, ...]
) -> None:
    """The area got another name, or has no day any more for what is wanted."""
    browser, other = Browser(), Browser()
    user = await town.subscribe(browser, collections=wanted)
    await town.subscribe(other, area="2구역", lang="en")
    before = [(town.district, area, date(2026, 6, 30)) for area in TWO_AREAS]
    renamed = Area("1구역", "가동", (FILM,)) if wanted else Area("중앙구역", "가동", (FILM, FOOD))
    await store.swap(town.db, [(town.district, renamed, date(2026, 7, 31)), before[1]], sample=False)
    assert await town.send() == {**NOTHING, "strays": 1}
    ((headers, body),) = town.service.of(browser)
    assert browser.read(body)["title"] == "수거 구역이 바뀌었어요"
    assert headers["topic"] == "collection-area"
    assert [one.stopped for one in await town.kept(user)] == ["area"]
    assert await town.send(THURSDAY + timedelta(weeks=1)) == {**NOTHING, "day": "2026-12-10"}, "once"
    await store.swap(town.db, before, sample=False)
    assert (await town.send())["sent"] == 1
    assert [one.stopped for one in await town.kept(user)] == [None]
    await town.db.run("DELETE FROM recycling.areas WHERE district = %(district)s", district=town.district)
    assert (await town.send(THURSDAY + timedelta(weeks=2)))["strays"] == 2
    assert "is not listed any more" in other.read(town.service.of(other)[-1][1])["body"]


async def test_who_dies_while_telling_of_an_area_tells_again(town: Town) -> None:
    browser = Browser()
    await town.subscribe(browser)
    await town.db.run("DELETE FROM recycling.areas WHERE district = %(district)s", district=town.district)
    town.service.answers[browser.path] = (503, {})
    assert (await town.send())["later"] == 1
    town.service.answers.clear()
    assert (await town.send())["strays"] == 0, "held until the next run"
    await town.pauses_are_over()
    assert (await town.send())["strays"] == 1


async def test_an_area_that_is_no_more_is_told_once_an_evening_where_the_service_refuses(town: Town) -> None:
    browser = Browser()
    await town.subscribe(browser)
    await town.db.run("DELETE FROM recycling.areas WHERE district = %(district)s", district=town.district)
    town.service.answers[browser.path] = (403, {})
    assert await town.send() == {**NOTHING, "refused": 1}
    assert await town.send() == NOTHING


async def test_a_stopped_reminder_makes_room(town: Town) -> None:
    browsers = [Browser() for _ in range(reminders.BROWSERS)]
    user = await town.subscribe(browsers[0])
    for browser in browsers[1:]:
        await town.subscribe(browser, user)
    first = reminders.id_of(f"{town.service.url}/{browsers[0].path}")
    await reminder_store.stop(town.db, first, "refused")
    await town.subscribe(Browser(), user)
    kept = await town.kept(user)
    assert len(kept) == reminders.BROWSERS
    assert first not in {one.id for one in kept}


async def test_the_operator_is_told_which_key_is_missing(town: Town) -> None:
    await town.subscribe(Browser())
    wrong, offered = push.Key.make(), push.Key.make()
    keys = {"ECO2_PUSH_PRIVATE_KEYS": wrong.text, "ECO2_PUSH_PUBLIC_KEY": offered.public}
    given = {"ECO2_DATABASE_URL": town.settings.database_url, **keys}
    done = await asyncio.to_thread(CliRunner().invoke, app, ["reminders", "status", "--json"], env=given)
    (row,) = orjson.loads(done.output)
    assert (row["subscribed"], row["stopped"]) == (1, 0)
    assert f"{offered.public}: 0, offered, private key is missing" in row["keys"]
    assert f"{KEY.public}: 1, private key is missing" in row["keys"]
    assert wrong.text not in done.output


async def test_nothing_is_sent_on_a_holiday_without_collection(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    resting = Area("1구역", "가동", (FILM,), no_pickup="설날")
    await store.swap(town.db, [(town.district, resting, date(2026, 6, 30))], sample=False)
    await town.subscribe(Browser())
    monkeypatch.setattr(holidays, "load", lambda _folder: {THURSDAY: ("설날",)})
    assert (await town.send())["sent"] == 0


async def test_a_user_has_reminders_in_ten_browsers_and_a_browser_has_one(town: Town) -> None:
    browsers = [Browser() for _ in range(reminders.BROWSERS)]
    user = await town.subscribe(browsers[0])
    for browser in browsers[1:]:
        await town.subscribe(browser, user)
    with pytest.raises(reminders.TooManyBrowsers):
        await town.subscribe(Browser(), user)
    await town.subscribe(browsers[0], user, collections=("food",))
    assert next(one.collections for one in await town.kept(user)) == ["food"]
    other = await town.subscribe(browsers[0])
    assert len(await town.kept(user)) == reminders.BROWSERS - 1
    assert len(await town.kept(other)) == 1
    with pytest.raises(reminders.ReminderNotFound):
        await reminders.take_off(town.db, user, (await town.kept(other))[0].id)
    assert len(await reminder_store.exported(town.db, other)) == 1
    assert await reminder_store.forget(town.db, other) == 1
    assert await town.kept(other) == []


async def test_what_is_refused(town: Town) -> None:
    browser = Browser()
    with pytest.raises(reminders.OtherKey):
        await town.subscribe(browser, public_key=push.Key.make().public)
    with pytest.raises(reminders.UnknownService):
        await town.subscribe(browser, endpoint="https://push.example.org/a")
    with pytest.raises(reminders.BadSubscription):
        await town.subscribe(browser, p256dh=push.text_of(b"\x04" + bytes(64)))
    short = browser.private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    with pytest.raises(reminders.BadSubscription):
        await town.subscribe(browser, p256dh=push.text_of(short))
    with pytest.raises(reminders.BadSubscription):
        await town.subscribe(browser, auth=base64.b64encode(bytes(15)).decode())
    with pytest.raises(reminders.AreaRequired):
        await town.subscribe(browser, area=None)  # type: ignore[arg-type]
    with pytest.raises(reminders.NothingOnADay):
        await town.subscribe(browser, collections=("bulky",))
    assert await town.send() == NOTHING
