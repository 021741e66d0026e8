"""Lists of places as JSON, from the part stored with each place (migration 0047) and the part that depends on time.

A short cut: `eco2.location.service.entry` says the same field by field, and the framework writes it.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import lru_cache

import orjson

from eco2.location.opening import KOREA, Clock, Today
from eco2.location.store import Card

STALE_AFTER = timedelta(days=365)


def written(found: Iterable[Card], now: datetime, clock: Clock) -> bytes:
    states: dict[str, str] = {}
    checks: dict[date | None, str] = {}
    parts = []
    for card in found:
        first, second, third, hours = card.text.split("\n")
        state = states.get(hours)
        if state is None:
            state = states[hours] = _state(clock.state(hours or None, now))
        check = checks.get(card.data_date)
        if check is None:
            check = checks[card.data_date] = "true" if needs_check(card.data_date, now) else "false"
        away, away_text = distance(card.meters)
        parts.append(
            f'{{"id":{card.id},{first},"latitude":{card.latitude},"longitude":{card.longitude},'
            f'"distance_km":{away},"distance_text":"{away_text}",{second},{state},{third},"needs_check":{check}}}'
        )
    return f"[{','.join(parts)}]".encode()


def _state(today: Today) -> str:
    said = {
        "is_holiday": today.is_holiday,
        "is_open": today.is_open,
        "start_time": today.start_time,
        "end_time": today.end_time,
    }
    return orjson.dumps(said).decode()[1:-1]


def distance(meters: float) -> tuple[float, str]:
    """Kilometres and their text."""
    return round(meters / 1000, 3), f"{round(meters / 10) * 10}m" if meters < 995 else f"{meters / 1000:.1f}km"


@lru_cache(maxsize=256)
def needs_check(data_date: date | None, now: datetime) -> bool:
    return data_date is None or data_date < now.astimezone(KOREA).date() - STALE_AFTER
