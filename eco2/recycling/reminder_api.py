"""Routes of reminders. The edge sends them here, because collection days are here (docs/adr/0016)."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from eco2.core.app import BadUser, GuestNotAllowed, MissingUser, User, error_responses
from eco2.core.errors import Unavailable
from eco2.knowledge.models import Collection
from eco2.recycling import calendar, reminder_store, reminders
from eco2.recycling.api import At
from eco2.recycling.reminders import Wish

router = APIRouter(prefix="/api/v1/users/me/reminders", tags=["users"])

_ENDPOINT = "https://fcm.googleapis.com/fcm/send/dQw4:APA91bF-x"
_P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
_AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
_KEY = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
_ID = "8b4f4f0c5d0d4a6b9a3b0e3a51cd0f6e"


class ReminderWish(BaseModel):
    """A browser, as `PushSubscription.toJSON()` tells it, and the days that it is to be reminded of."""

    endpoint: Annotated[str, Field(min_length=1, max_length=1000, examples=[_ENDPOINT])]
    p256dh: Annotated[str, Field(min_length=1, max_length=200, examples=[_P256DH])]
    auth: Annotated[str, Field(min_length=1, max_length=50, examples=[_AUTH])]
    public_key: Annotated[
        str, Field(max_length=200, description="The key that the browser subscribed with", examples=[_KEY])
    ]
    district: Annotated[str, Field(min_length=1, max_length=100, examples=["서울특별시 마포구"])]
    area: Annotated[
        str | None, Field(max_length=200, description="Required if the district has several", examples=["1구역"])
    ] = None
    collections: Annotated[
        list[Collection], Field(max_length=20, description="Empty: everything", examples=[["vinyl"]])
    ] = []
    lang: Annotated[reminders.Lang, Field(examples=["ko"])] = "ko"


class ReminderOut(BaseModel):
    id: Annotated[str, Field(description="The first 32 hexadecimal digits of the endpoint's SHA-256", examples=[_ID])]
    district: Annotated[str, Field(examples=["서울특별시 마포구"])]
    area: Annotated[str, Field(examples=["1구역"])]
    collections: Annotated[list[str], Field(description="Empty: everything", examples=[["vinyl"]])]
    lang: Annotated[str, Field(examples=["ko"])]
    stopped: Annotated[
        reminder_store.Stopped | None,
        Field(
            description="Why nothing is sent any more, null while it is: its push service refused, or put it off, on "
            "many evenings; its area is in the data no more; the key that it was made with is no longer in use",
            examples=[None],
        ),
    ] = None

    @classmethod
    def of(cls, found: reminder_store.Reminder) -> "ReminderOut":
        return cls(
            id=found.id,
            district=found.district,
            area=found.area,
            collections=list(found.collections),
            lang=found.lang,
            stopped=found.stopped,
        )


class Reminders(BaseModel):
    public_key: Annotated[
        str | None,
        Field(description="`applicationServerKey` to subscribe with; null: not offered here", examples=[_KEY]),
    ]
    items: list[ReminderOut]


_NEED_MEMBER = (MissingUser, BadUser, GuestNotAllowed, Unavailable)


@router.get(
    "",
    operation_id="listReminders",
    response_model=Reminders,
    summary="Browsers that are reminded, and the key to subscribe with",
    responses=error_responses(*_NEED_MEMBER),
)
async def listed(at: At, user: User) -> Reminders:
    """Browsers of the user, at most 10. One that is `stopped` goes on after another PUT."""
    found = await reminder_store.of_user(at.db, user)
    return Reminders(public_key=at.offer.public_key or None, items=[ReminderOut.of(one) for one in found])


@router.put(
    "",
    operation_id="putReminder",
    response_model=ReminderOut,
    summary="Remind this browser of collection days",
    responses=error_responses(
        reminders.UnknownService,
        reminders.BadSubscription,
        reminders.AreaRequired,
        reminders.NothingOnADay,
        calendar.DistrictUnknown,
        calendar.NoDays,
        calendar.AreaNotFound,
        reminders.NotOffered,
        reminders.OtherKey,
        reminders.TooManyBrowsers,
        reminders.TooManyChanges,
        *_NEED_MEMBER,
    ),
)
async def put(at: At, user: User, body: ReminderWish) -> ReminderOut:
    """In the evening before (from 19:00 in Seoul) the browser gets the next day's collections.

    A browser has one reminder: another call takes the place of the one before. Only known push services are sent to."""
    if wait := at.changes.take(user):
        raise reminders.TooManyChanges(retry_after=wait)
    wish = Wish(**{**body.model_dump(), "collections": tuple(body.collections)})
    return ReminderOut.of(await reminders.put(at.db, at.offer, at.knowledge, at.districts, user, wish))


@router.delete(
    "/{reminder_id}",
    operation_id="deleteReminder",
    status_code=204,
    summary="End the reminders of a browser",
    responses=error_responses(reminders.ReminderNotFound, *_NEED_MEMBER),
)
async def delete(at: At, user: User, reminder_id: str) -> None:
    """`id` as the list tells it. End the subscription in the browser, too."""
    await reminders.take_off(at.db, user, reminder_id)
