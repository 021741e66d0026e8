"""Reminders of collection days by Web Push: subscriptions and their texts (docs/adr/0051).

A reminder belongs to a browser: its push service gives it an address, to which nothing is sent before that was held
against the list of known services.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from uuid import UUID

import yaml

from eco2.core.errors import BadRequest, Conflict, NotFound, TooMany
from eco2.core.postgres import Database
from eco2.knowledge import Knowledge
from eco2.knowledge.days import Area, Schedule
from eco2.knowledge.districts import Districts
from eco2.knowledge.loading import default_directory
from eco2.knowledge.models import Collection
from eco2.knowledge.regions import COLLECTIONS
from eco2.recycling import calendar, reminder_store
from eco2.recycling.push import bytes_of, check_public
from eco2.recycling.reminder_store import Reminder

BROWSERS = 10
"""Reminders of one user."""
AUTH_BYTES = 16
Lang = Literal["ko", "en"]


class NotOffered(Conflict):
    """Reminders are not offered here: this installation has no key for push services."""

    code = "REMINDERS_NOT_OFFERED"


class OtherKey(Conflict):
    """The subscription was made with another key than `public_key`: subscribe again."""

    code = "PUSH_KEY_CHANGED"


class UnknownService(BadRequest):
    """The push service of this browser is not among the known ones."""

    code = "PUSH_SERVICE_UNKNOWN"


class BadSubscription(BadRequest):
    """`p256dh` and `auth` are not the keys of a push subscription; subscribe again in the browser."""

    code = "SUBSCRIPTION_INVALID"


class AreaRequired(BadRequest):
    """The district has several areas: name one."""

    code = "AREA_REQUIRED"


class NothingOnADay(BadRequest):
    """None of these has a collection day there; choose from the calendar of the district."""

    code = "NOTHING_COLLECTED"


class TooManyBrowsers(Conflict):
    """Too many browsers of this account have reminders; end one of them first."""

    code = "TOO_MANY_REMINDERS"


class ReminderNotFound(NotFound):
    """There is no such reminder, or it is not yours."""

    code = "REMINDER_NOT_FOUND"


class TooManyChanges(TooMany):
    """Reminders of this account change too often; try again in a moment."""

    code = "TOO_MANY_REMINDER_CHANGES"


@dataclass(frozen=True)
class Offer:
    """Key and push services that subscriptions are taken for; without a key none. `trusted`: the double of a test."""

    public_key: str = ""
    hosts: frozenset[str] = frozenset()
    trusted: str | None = None


@dataclass(frozen=True)
class Wish:
    """`area` is None where the district has one only, `collections` empty for everything."""

    endpoint: str
    p256dh: str
    auth: str
    public_key: str
    district: str
    area: str | None
    collections: Sequence[Collection] = field(default_factory=tuple)
    lang: Lang = "ko"


def hosts(data_dir: Path | None = None) -> frozenset[str]:
    content = ((data_dir or default_directory()) / "push_services.yaml").read_bytes()
    return frozenset(str(row["host"]) for row in yaml.load(content, Loader=yaml.CSafeLoader)["hosts"])


def is_known(endpoint: str, known: frozenset[str], trusted: str | None) -> bool:
    """True for an address of a known push service: https, its own port, no name, password or fragment."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        return False
    if trusted and endpoint.startswith(f"{trusted}/"):
        return True
    plain = (
        parts.username is None
        and "#" not in endpoint
        and endpoint.isascii()
        and endpoint.isprintable()
        and " " not in endpoint
    )
    return plain and parts.scheme == "https" and port in (None, 443) and parts.hostname in known


def _checked_keys(p256dh: str, auth: str) -> None:
    try:
        if len(bytes_of(auth)) != AUTH_BYTES:
            raise BadSubscription
        check_public(p256dh)
    except ValueError:
        raise BadSubscription from None


def id_of(endpoint: str) -> str:
    """Digest of the address: the browser can find its own reminder by it."""
    return hashlib.sha256(endpoint.encode()).hexdigest()[:32]


async def put(
    db: Database, offer: Offer, knowledge: Knowledge, districts: Districts, user: UUID, wish: Wish
) -> Reminder:
    """Remind this browser of these days, in place of earlier ones."""
    if not offer.public_key:
        raise NotOffered
    if wish.public_key != offer.public_key:
        raise OtherKey
    if not is_known(wish.endpoint, offer.hosts, offer.trusted):
        raise UnknownService
    _checked_keys(wish.p256dh, wish.auth)
    district = calendar.district_of(knowledge, districts, wish.district)
    found = await calendar.known_schedule(db, knowledge, district)
    area = _area(found, wish.area)
    wanted = tuple(name for name in COLLECTIONS if name in wish.collections)
    if not any(_has_day(area, name) for name in wanted or COLLECTIONS):
        raise NothingOnADay
    reminder = Reminder(
        id=id_of(wish.endpoint),
        user_id=user,
        endpoint=wish.endpoint,
        p256dh=wish.p256dh,
        auth=wish.auth,
        public_key=wish.public_key,
        district=district,
        area=area.name,
        collections=wanted,
        lang=wish.lang,
    )
    if not await reminder_store.put(db, reminder, BROWSERS):
        raise TooManyBrowsers
    return reminder


def _area(found: Schedule, name: str | None) -> Area:
    """AreaRequired, AreaNotFound."""
    meant = calendar.areas(found, name)
    if len({area.name for area in meant}) > 1:
        raise AreaRequired(f"Name one of: {', '.join(area.name for area in meant[:20])}.")
    return meant[0]


def _has_day(area: Area, name: Collection) -> bool:
    pickup = area.pickup(name)
    return pickup is not None and bool(pickup.days)


async def take_off(db: Database, user: UUID, reminder_id: str) -> None:
    if not await reminder_store.remove(db, user, reminder_id):
        raise ReminderNotFound


# --- telling ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Due:
    """Things that an area puts out on a day: collection → its hours, "" where they are not known."""

    district: str
    area: str
    hours: Mapping[Collection, str]


def due(found: Schedule, day: date, book: calendar.Holidays) -> list[Due]:
    """Look up what each area puts out that day; areas of one name count as one."""
    areas: dict[str, dict[Collection, str]] = {}
    for area in found.areas:
        for _, name in calendar.upcoming(area, None, day, 1, book):
            areas.setdefault(area.name, {}).setdefault(name, _hours(area, name))
    return [Due(found.district, name, hours) for name, hours in areas.items()]


def offered(found: Schedule | None) -> dict[str, set[Collection]]:
    """Area → what it puts out on a day of the week."""
    areas: dict[str, set[Collection]] = {}
    for area in found.areas if found else ():
        areas.setdefault(area.name, set()).update(name for name in COLLECTIONS if _has_day(area, name))
    return areas


def _hours(area: Area, name: Collection) -> str:
    pickup = area.pickup(name)
    return f"{pickup.from_time}–{pickup.until_time}" if pickup and pickup.from_time and pickup.until_time else ""


def message(reminder: Reminder, put_out: Due, day: date) -> dict[str, str]:
    """Compose the notification. A repeated one replaces itself: `tag` is that of the day."""
    names = [name for name in COLLECTIONS if name in put_out.hours and _wants(reminder, name)]
    said = ", ".join(COLLECTIONS[name][0 if reminder.lang == "ko" else 1] for name in names)
    hours = list(dict.fromkeys(filter(None, (put_out.hours[name] for name in names))))
    where = " ".join(filter(None, (put_out.district.rpartition(" ")[2], put_out.area)))
    title = f"내일 내놓는 날: {said}" if reminder.lang == "ko" else f"Put out tomorrow: {said}"
    body = " · ".join([where, *(hours if len(hours) == 1 else ())])
    return {"title": title, "body": body, "tag": f"collection-{day}", "lang": reminder.lang, "url": "/calendar"}


def stray(reminder: Reminder) -> dict[str, str]:
    """Compose what the browser shows once, where there is nothing to remind of any more."""
    where = " ".join(filter(None, (reminder.district.rpartition(" ")[2], reminder.area)))
    if reminder.lang == "ko":
        title, body = "수거 구역이 바뀌었어요", f"{where}의 요일을 이제 알 수 없어요. 눌러서 다시 골라 주세요."
    else:
        title, body = "Collection areas have changed", f"{where} is not listed any more. Tap to choose again."
    return {"title": title, "body": body, "tag": "collection-area", "lang": reminder.lang, "url": "/calendar"}


def _wants(reminder: Reminder, name: Collection) -> bool:
    return not reminder.collections or name in reminder.collections


def seconds_until(day: date, now: datetime) -> int:
    """Seconds until the day begins in Seoul: from then on "tomorrow" would be wrong."""
    return max(int((datetime.combine(day, time(), calendar.SEOUL) - now).total_seconds()), 0)


def evening(now: datetime) -> date | None:
    """The day to remind of at `now`: tomorrow from six to eleven in the evening, else none."""
    local = now.astimezone(calendar.SEOUL)
    return local.date() + timedelta(days=1) if 18 <= local.hour < 23 else None
