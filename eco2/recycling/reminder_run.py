"""The scheduled task `reminders.send`: sends tomorrow's collections, every ten minutes of the evening.

A reminder is marked with the day once its push service has the message. After a crash in between it is sent again: the
message has the topic and the tag of the day, so the browser shows it once.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal, Self, get_args
from urllib.parse import urlsplit

import orjson
import psycopg
from pydantic import Field, model_validator

from eco2 import knowledge
from eco2.contracts.tasks import Outcome
from eco2.core.errors import AppError
from eco2.core.fetch import Fetched, Fetcher, Limits, Unreachable
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings, KnowledgeSettings, Settings, load
from eco2.knowledge import Knowledge, holidays
from eco2.recycling import calendar, push, reminder_store, reminders
from eco2.recycling.push_settings import PushSettings
from eco2.recycling.reminder_store import Reminder, Stopped
from eco2.recycling.reminders import Due

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)
BATCH = 100
AT_ONCE = 10
ENOUGH = 440.0
"""Seconds after which a run leaves the rest to the next: it has to end within those of its task."""
LIMITS = Limits(seconds=10, hops=0)
PAUSE = timedelta(minutes=9)
"""Until a message is tried again that its service did not take: the next run."""
MOST_SILENCES = 3
"""Messages in a row to which a host does not answer; then it is left alone for the run, so that others get theirs."""
LONGEST_PAUSE = timedelta(hours=1)
KEEP_STRAY = int(timedelta(days=3).total_seconds())
"""Seconds that a push service keeps the message that there is nothing to remind of any more."""
TAKEN = range(200, 300)
GONE = frozenset({404, 410})
BUSY = frozenset({408, 425, 429})
End = Literal["sent", "strays", "gone", "refused", "later"]


class ReminderSettings(Settings, DatabaseSettings, KnowledgeSettings, PushSettings):
    database_pool_size: int = Field(default=5, ge=1)
    public_url: str
    """Told to push services as the address of whom to ask about messages."""
    push_emulator_url: str | None = None
    """Double of a push service, for tests: the only address on this machine that is sent to."""

    @model_validator(mode="after")
    def _emulator_is_local(self) -> Self:
        if self.push_emulator_url and self.environment != "local":
            raise ValueError("ECO2_PUSH_EMULATOR_URL is for the environment local only")
        return self


@dataclass(frozen=True)
class Errand:
    """Subject of a batch: the collections of the day, or with `put_out` None that the area is gone."""

    day: date
    put_out: Due | None


@dataclass
class Sender:
    db: Database
    http: Fetcher
    knowledge: Knowledge
    holidays: calendar.Holidays
    keys: dict[str, push.Key]
    signer: push.Signer
    hosts: frozenset[str]
    trusted: str | None = None
    ends: Counter[End] = field(default_factory=Counter)
    pauses: dict[str, datetime] = field(default_factory=dict)
    """Host → when it is asked again: as it said, or after the run if it does not answer."""
    silences: Counter[str] = field(default_factory=Counter)
    """Host → messages in a row to which it did not answer."""

    async def send(self, day: date) -> None:
        """Everything that is due for the day, as far as the time goes."""
        until = time.monotonic() + ENOUGH
        if stopped := await reminder_store.settle_keys(self.db, self.keys.keys()):
            log.error("reminders are stopped: their key is not among ECO2_PUSH_PRIVATE_KEYS", extra={"number": stopped})
        for district in await reminder_store.districts(self.db, day):
            found = await calendar.schedule(self.db, self.knowledge, district)
            offered = reminders.offered(found)
            await reminder_store.resume(self.db, district, offered)
            while time.monotonic() < until and (
                batch := await reminder_store.take_strays(self.db, district, offered, day, LEASE, BATCH)
            ):
                await self._send_batch(batch, Errand(day, None))
            for put_out in reminders.due(found, day, self.holidays) if found else ():
                while time.monotonic() < until and (batch := await self._take(put_out, day)):
                    await self._send_batch(batch, Errand(day, put_out))

    async def _take(self, put_out: Due, day: date) -> list[Reminder]:
        names = tuple(put_out.hours)
        return await reminder_store.take(self.db, put_out.district, put_out.area, names, day, LEASE, BATCH)

    async def _send_batch(self, batch: Sequence[Reminder], errand: Errand) -> None:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(reminder: Reminder) -> None:
            async with places:
                self.ends[await self._send_safely(reminder, errand)] += 1

        ended = await asyncio.gather(*map(one, batch), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    async def _send_safely(self, reminder: Reminder, errand: Errand) -> End:
        """Send one, so that its faults hold up no other; an error of the database ends the run."""
        try:
            return await self._send(reminder, errand)
        except psycopg.Error:
            raise
        except Exception as error:  # noqa: BLE001 - anything that one reminder can bring about
            # The address of a browser is a secret, and a message of an error may have it.
            log.error("a reminder cannot be sent", extra={"reminder": reminder.id, "error": type(error).__name__})
            return await self._put_off(reminder, errand.day, datetime.now(UTC) + PAUSE)

    async def _send(self, reminder: Reminder, errand: Errand) -> End:
        host, now = urlsplit(reminder.endpoint).hostname or "", datetime.now(UTC)
        key = self.keys.get(reminder.public_key)
        if key is None:  # made since the run began, by a recycling-api that has another key
            await self._stop(reminder, "key")
            return "refused"
        if not reminders.is_known(reminder.endpoint, self.hosts, self.trusted):
            # Its service was taken off the list: perhaps by mistake, so it stays for some days.
            return await self._refused(reminder, errand.day)
        if (pause := self.pauses.get(host)) and pause > now:
            await reminder_store.later(self.db, reminder.id, pause)
            return "later"
        if errand.put_out:
            said, keep = (
                reminders.message(reminder, errand.put_out, errand.day),
                reminders.seconds_until(errand.day, now),
            )
        else:
            said, keep = reminders.stray(reminder), KEEP_STRAY
        body = push.seal(orjson.dumps(said), reminder.p256dh, reminder.auth)
        headers = self.signer.headers(reminder.endpoint, key, said["tag"], keep)
        try:
            answer = await self.http.post(reminder.endpoint, body, headers, LIMITS)
        except AppError as error:
            log.warning("a push service is away: %s", error.message)
            if isinstance(error, Unreachable):
                self.silences[host] += 1
            if self.silences[host] >= MOST_SILENCES:
                self.pauses[host] = max(now + PAUSE, self.pauses.get(host, now))
            await reminder_store.later(self.db, reminder.id, now + PAUSE)
            return "later"
        self.silences[host] = 0
        return await self._ended(reminder, errand, answer, host)

    async def _ended(self, reminder: Reminder, errand: Errand, answer: Fetched, host: str) -> End:
        if answer.status in TAKEN:
            if errand.put_out is None:
                await self._stop(reminder, "area")
                return "strays"
            await reminder_store.told(self.db, reminder.id, errand.day)
            return "sent"
        if answer.status in GONE:
            await reminder_store.gone(self.db, reminder)
            return "gone"
        if answer.status in BUSY or answer.status >= 500:
            now = datetime.now(UTC)
            asked = retry_after(answer.headers.get("retry-after"), now)
            if asked:
                self.pauses[host] = max(asked, self.pauses.get(host, asked))
            # Never in this run: it would come back to the same message without end.
            return await self._put_off(reminder, errand.day, max(asked or now, now + PAUSE))
        log.error("a push service refuses", extra={"host": host, "status": answer.status})
        return await self._refused(reminder, errand.day)

    async def _put_off(self, reminder: Reminder, day: date, at: datetime) -> End:
        if await reminder_store.put_off(self.db, reminder.id, day, at):
            self._say_stopped(reminder, "delayed")
        return "later"

    async def _refused(self, reminder: Reminder, day: date) -> End:
        if await reminder_store.refused(self.db, reminder.id, day):
            self._say_stopped(reminder, "refused")
        return "refused"

    async def _stop(self, reminder: Reminder, why: Stopped) -> None:
        await reminder_store.stop(self.db, reminder.id, why)
        self._say_stopped(reminder, why)

    def _say_stopped(self, reminder: Reminder, why: Stopped) -> None:
        log.warning("a reminder is stopped", extra={"reminder": reminder.id, "because": why})


def retry_after(value: str | None, now: datetime) -> datetime | None:
    """Read when to come back: seconds or a date, an hour at most. None where nothing readable is said."""
    if not value:
        return None
    try:
        at = now + timedelta(seconds=int(value)) if value.isdecimal() else parsedate_to_datetime(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return min(max(at, now), now + LONGEST_PAUSE)


async def run(_argument: str) -> Outcome:
    """`reminders.send`"""
    settings = load(ReminderSettings)
    day = reminders.evening(datetime.now(UTC))
    if not settings.push_private_keys or day is None:
        return Outcome({"sent": 0, "because": "no keys" if not settings.push_private_keys else "not in the evening"})
    return await remind(settings, day)


async def remind(settings: ReminderSettings, day: date) -> Outcome:
    trusted, keys = settings.push_emulator_url, push.read_keys(settings.push_private_keys)
    async with (
        open_database(settings, repeat=True) as db,
        Fetcher([trusted] if trusted else [], agent="Eco2/1 (reminders of collection days)") as http,
    ):
        sender = Sender(
            db,
            http,
            knowledge.load(settings.data_dir),
            holidays.load(settings.data_dir),
            keys,
            push.Signer(settings.public_url),
            reminders.hosts(settings.data_dir),
            trusted,
        )
        await sender.send(day)
    return Outcome({"day": day.isoformat(), **{end: sender.ends[end] for end in get_args(End)}})
