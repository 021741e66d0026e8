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
from pydantic import Field, field_validator, model_validator

from eco2 import knowledge
from eco2.contracts.tasks import Outcome
from eco2.core.errors import AppError
from eco2.core.fetch import Fetched, Fetcher, Limits, Unreachable
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings, KnowledgeSettings, Settings, load
from eco2.knowledge import Knowledge, holidays
from eco2.recycling import calendar, push, reminder_store, reminders
from eco2.recycling.reminder_store import Reminder
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
TAKEN = range(200, 300)
GONE = frozenset({404, 410})
BUSY = frozenset({408, 425, 429})
End = Literal["sent", "gone", "refused", "later"]


class ReminderSettings(Settings, DatabaseSettings, KnowledgeSettings):
    database_pool_size: int = Field(default=5, ge=1)
    push_private_keys: str = ""
    """VAPID keys, 32 bytes in base64url with commas between them; `eco2 reminders key` makes one. Without one nobody is
    reminded. A former key stays until no reminder was made with it (docs/adr/0051)."""
    public_url: str
    """Told to push services as the address of whom to ask about messages."""
    push_emulator_url: str | None = None
    """Double of a push service, for tests: the only address on this machine that is sent to."""

    @field_validator("push_private_keys")
    @classmethod
    def _are_keys(cls, text: str) -> str:
        push.read_keys(text)
        return text

    @model_validator(mode="after")
    def _emulator_is_local(self) -> Self:
        if self.push_emulator_url and self.environment != "local":
            raise ValueError("ECO2_PUSH_EMULATOR_URL is for the environment local only")
        return self


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
        for district in await reminder_store.districts(self.db, day):
            found = await calendar.schedule(self.db, self.knowledge, district)
            for put_out in reminders.due(found, day, self.holidays) if found else ():
                while time.monotonic() < until and (batch := await self._take(put_out, day)):
                    await self._send_batch(batch, put_out, day)

    async def _take(self, put_out: Due, day: date) -> list[Reminder]:
        names = tuple(put_out.hours)
        return await reminder_store.take(self.db, put_out.district, put_out.area, names, day, LEASE, BATCH)

    async def _send_batch(self, batch: Sequence[Reminder], put_out: Due, day: date) -> None:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(reminder: Reminder) -> None:
            async with places:
                self.ends[await self._send_safely(reminder, put_out, day)] += 1

        ended = await asyncio.gather(*map(one, batch), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    async def _send_safely(self, reminder: Reminder, put_out: Due, day: date) -> End:
        """Send one, so that its faults hold up no other; an error of the database ends the run."""
        try:
            return await self._send(reminder, put_out, day)
        except psycopg.Error:
            raise
        except Exception as error:  # noqa: BLE001 - anything that one reminder can bring about
            # The address of a browser is a secret, and a message of an error may have it.
            log.error("a reminder cannot be sent", extra={"reminder": reminder.id, "error": type(error).__name__})
            await reminder_store.later(self.db, reminder.id, datetime.now(UTC) + PAUSE)
            return "later"

    async def _send(self, reminder: Reminder, put_out: Due, day: date) -> End:
        host, now = urlsplit(reminder.endpoint).hostname or "", datetime.now(UTC)
        key = self.keys.get(reminder.public_key)
        if key is None or not reminders.is_known(reminder.endpoint, self.hosts, self.trusted):
            # Its key was taken out of use, or its service off the list: perhaps by mistake, so it stays for some days.
            await reminder_store.refused(self.db, reminder.id, day)
            return "refused"
        if (pause := self.pauses.get(host)) and pause > now:
            await reminder_store.later(self.db, reminder.id, pause)
            return "later"
        content = orjson.dumps(reminders.message(reminder, put_out, day))
        body = push.seal(content, reminder.p256dh, reminder.auth)
        headers = self.signer.headers(reminder.endpoint, key, f"collection-{day}", reminders.seconds_until(day, now))
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
        return await self._ended(reminder, day, answer, host)

    async def _ended(self, reminder: Reminder, day: date, answer: Fetched, host: str) -> End:
        if answer.status in TAKEN:
            await reminder_store.told(self.db, reminder.id, day)
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
            await reminder_store.later(self.db, reminder.id, max(asked or now, now + PAUSE))
            return "later"
        log.error("a push service refuses", extra={"host": host, "status": answer.status})
        await reminder_store.refused(self.db, reminder.id, day)
        return "refused"


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
        made_with = await reminder_store.by_key(db)
        if made_with and not made_with.keys() & keys.keys():
            # A mistake with the keys: each evening would count as a refusal, and the fifth would remove every reminder.
            log.error("no reminder was made with a key of ECO2_PUSH_PRIVATE_KEYS: none is sent, none is removed")
            return Outcome({"day": day.isoformat(), "sent": 0, "because": "no reminder has a known key"})
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
