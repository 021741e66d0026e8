"""A record of a file as a place, with its faults."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Literal, NamedTuple

import orjson

from eco2.location import categories, hours, words
from eco2.location.importing import addresses, coordinates
from eco2.location.importing.addresses import Region, Regions
from eco2.location.importing.coordinates import Point
from eco2.location.importing.files import BROKEN_LETTER
from eco2.location.importing.formats import Columns, Format
from eco2.location.opening import DAYS, Hours, write

Outcome = Literal["rejected", "duplicate", "review"]
"""`rejected`, `duplicate`: the row is not stored. `review`: it is stored, but something of it has to be looked at."""

LONGEST_NAME, LONGEST_TEXT = 200, 2000
_RESIDENTS = re.compile(r"공동주택\s*(?:단지\s*)?내|아파트\s*(?:단지\s*)?내|입주민|거주자\s*전용|단지\s*내부")
_URL = re.compile(r"https?://[^\s\"'<>]{3,500}", re.IGNORECASE)


class Finding(NamedTuple):
    """`reason` is a stable code."""

    outcome: Outcome
    reason: str
    detail: str = ""


class Row(NamedTuple):
    """A place as it is copied into the staging table, in the order of its columns. Arrays and JSON are written out."""

    line: int
    source_key: str
    place_key: str
    content: bytes
    source: str
    dataset: str
    name: str
    name_key: str
    letters: str
    initials: str
    store_category: str
    pickup_categories: str
    streams: str
    tags: str
    region: str
    road_address: str | None
    lot_address: str | None
    address_key: str | None
    detail: str | None
    phone: str | None
    place_url: str | None
    kakao_place_id: str | None
    collection_items: str | None
    introduction: str | None
    manager: str | None
    hours: str | None
    residents_only: bool
    data_date: date | None
    extra: str | None
    x: float | None
    y: float | None
    srid: int | None


def array(values: Sequence[str]) -> str:
    """An array as PostgreSQL writes it; values are words of our own or names of regions."""
    return "{" + ",".join(f'"{value}"' for value in values) + "}"


@dataclass
class Normaliser:
    """Reads the records of one file."""

    format: Format
    columns: Columns
    regions: Regions
    width: int
    today: date
    system: int | None = None
    """Given by the steward; counts for more than titles."""
    findings: list[Finding] = field(default_factory=list)
    """About the record read last."""

    def __post_init__(self) -> None:
        self._read = self._favourite if self.format.name == "kakao-favourites" else self._plain
        self._at = dict(self.columns.places)
        self._system = self.system if self.system is not None else self.columns.system
        self._hours: Callable[[list[str]], str | None] = self._hours_reader()

    def __call__(self, line: int, cells: list[str]) -> Row | None:
        """None: rejected; `findings` says why."""
        self.findings = []
        problem = self._form(cells)
        if problem:
            self.findings.append(problem)
            return None
        if len(cells) < self.width:
            cells = [*cells, *[""] * (self.width - len(cells))]
        row = self._read(line, cells)
        if row is None:  # further faults of a rejected row do not matter
            self.findings = [found for found in self.findings if found.outcome == "rejected"]
        return row

    def _form(self, cells: list[str]) -> Finding | None:
        if len(cells) != self.width and any(cell.strip() for cell in cells[self.width :]):
            return Finding("rejected", "columns", f"{len(cells)} of {self.width}")
        if len(cells) < self.width - 1:
            return Finding("rejected", "columns", f"{len(cells)} of {self.width}")
        if any(BROKEN_LETTER in cell for cell in cells):
            return Finding("rejected", "unreadable")
        return None

    def _cell(self, cells: list[str], name: str) -> str:
        at = self._at.get(name)
        return "" if at is None else cells[at].strip()[:LONGEST_TEXT]

    def name_of(self, cells: list[str]) -> str:
        """For the report."""
        names = ("display1", "name", "road", "lot", "address")
        return next(
            (found for name in names if (at := self._at.get(name, 1 << 30)) < len(cells) and (found := cells[at])), ""
        )

    # --- the plain table, and Kakao's favourites -------------------------------------------------------------------

    def _plain(self, line: int, cells: list[str]) -> Row | None:
        road, lot = self._addresses(cells)
        name = addresses.cleaned(self._cell(cells, "name"))
        point = self._point(cells, "x", "y", self._system)
        return self._row(line, cells, name, road, lot, point, store=self.format.store or categories.store_of(name))

    def _favourite(self, line: int, cells: list[str]) -> Row | None:
        """Of type ADDRESS: the memo is the name, `display1` the address. The colour means nothing."""
        first, second, memo = (addresses.cleaned(self._cell(cells, n)) for n in ("display1", "display2", "memo"))
        is_address = self._cell(cells, "favourite").upper() == "ADDRESS"
        name, address = (memo or first, first) if is_address else (first, second)
        point = self._point(cells, "x", "y", coordinates.WGS84)
        if not isinstance(point, Point):
            self.findings.clear()
            point = self._point(cells, "congnamul_x", "congnamul_y", coordinates.WCONGNAMUL)
        store = categories.store_of(f"{name} {memo}")
        kakao = "" if is_address else self._cell(cells, "number")
        return self._row(line, cells, name, address, "", point, store=store, kakao=kakao)

    def _addresses(self, cells: list[str]) -> tuple[str, str]:
        road = addresses.cleaned(self._cell(cells, "road"))
        lot = addresses.cleaned(self._cell(cells, "lot"))
        other = addresses.cleaned(self._cell(cells, "address"))
        if other and not road and not (addresses.is_lot(other) and not addresses.is_road(other)):
            road = other
        elif other and not lot and not road:
            lot = other
        return road[:LONGEST_TEXT], lot[:LONGEST_TEXT]

    def _point(self, cells: list[str], x: str, y: str, system: int | None) -> Point | None:
        if x not in self._at or y not in self._at:
            self.findings.append(Finding("review", coordinates.MISSING))
            return None
        x_text, y_text = self._cell(cells, x), self._cell(cells, y)
        found = coordinates.read(x_text, y_text, system)
        if not isinstance(found, Point):
            self.findings.append(Finding("review", found, f"{x_text[:40]}, {y_text[:40]}"))
            return None
        if found.swapped:
            self.findings.append(Finding("review", "coordinates_swapped", f"{x_text[:40]}, {y_text[:40]}"))
        return found

    def _row(
        self,
        line: int,
        cells: list[str],
        name: str,
        road: str,
        lot: str,
        point: Point | None,
        *,
        store: str,
        kakao: str = "",
    ) -> Row | None:
        if not name and self.format.place_name and (road or lot):
            name = self.format.place_name
        if not name:
            self.findings.append(Finding("rejected", "name_missing"))
            return None
        if not (road or lot or point):
            self.findings.append(Finding("rejected", "no_place", "neither address nor coordinates"))
            return None
        if len(name) > LONGEST_NAME:
            self.findings.append(Finding("rejected", "name_too_long", f"{len(name)} letters"))
            return None
        raw_phone = "\n".join(cells[at] for at in self.columns.all_phones if cells[at])[:LONGEST_TEXT]
        named = " ".join(filter(None, (self._cell(cells, "region"), self._cell(cells, "district"))))
        region = self.regions.of(tuple(filter(None, (road, lot))), named, _area(raw_phone))
        items = _text(self._cell(cells, "items"))
        pickup, streams = _taken(self.format.dataset, items or "")
        kind = self._cell(cells, "kind")
        detail = _text(self._cell(cells, "detail"))
        key = words.key(name)
        address_key = addresses.key(road) or addresses.key(lot)
        number = self._cell(cells, "number")
        fields = (
            self.format.source,
            self.format.dataset,
            name,
            key,
            words.letters(key),
            words.initials(key),
            store,
            array(pickup),
            array(streams),
            _tags(self.format.source, self.format.dataset, store, pickup, streams, region),
            region.name,
            road or None,
            lot or None,
            address_key or None,
            detail,
            addresses.phone(raw_phone, region.province) or None,
            _url(self._cell(cells, "url") or (f"https://place.map.kakao.com/{kakao}" if kakao.isdecimal() else "")),
            kakao if kakao.isdecimal() else None,
            items,
            _text(self._cell(cells, "introduction")),
            _text(self._cell(cells, "manager")),
            self._hours(cells),
            _RESIDENTS.search(f"{name} {detail or ''} {kind} {road} {lot}") is not None,
            _date(self._cell(cells, "date"), self.today),
            self._extra(cells),
            *((point.x, point.y, point.srid) if point else (None, None, None)),
        )
        content = hashlib.blake2b(orjson.dumps(fields), digest_size=16).digest()
        place_key = _key_of(key, address_key, detail, point)
        return Row(line, f"#{number}" if number else place_key, place_key, content, *fields)

    def _extra(self, cells: list[str]) -> str | None:
        """Columns that no field takes, as they came."""
        found = {title: text for title, at in self.columns.others if (text := _text(cells[at].strip()))}
        return orjson.dumps(found).decode() if found else None

    # --- opening hours -----------------------------------------------------------------------------------------------

    def _hours_reader(self) -> Callable[[list[str]], str | None]:
        if any(day in self._at for day in DAYS):
            return self._hours_of_days
        if "week_from" in self._at:
            return self._hours_of_columns
        if "hours" in self._at or "rest" in self._at:
            return lambda cells: _hours_of_text(self._cell(cells, "hours"), self._cell(cells, "rest"))
        return lambda _cells: None

    def _hours_of_days(self, cells: list[str]) -> str | None:
        texts = tuple(self._cell(cells, day) for day in DAYS)
        return _hours_of_days(texts, self._cell(cells, "holiday"), self._cell(cells, "holiday_rest"))

    def _hours_of_columns(self, cells: list[str]) -> str | None:
        pairs = [
            (self._cell(cells, f"{kind}_from"), self._cell(cells, f"{kind}_until"))
            for kind in ("week", "sat", "holiday")
        ]
        return _hours_of_pairs(tuple(pairs), self._cell(cells, "rest"))


# --- values, remembered since files repeat them -----------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _hours_of_text(text: str, rest: str) -> str | None:
    return _written(hours.of_text(text, rest))


@lru_cache(maxsize=4096)
def _hours_of_days(texts: tuple[str, ...], holiday: str, rest: str) -> str | None:
    return _written(hours.of_days(dict(zip(DAYS, texts, strict=True)), holiday, rest))


@lru_cache(maxsize=4096)
def _hours_of_pairs(pairs: tuple[tuple[str, str], ...], rest: str) -> str | None:
    """Of working days, Saturday, public holidays. 00:00 to 00:00 says nothing."""
    week, saturday, holiday = (
        "" if not (first and last) or {first, last} <= {"00:00", "0:00"} else f"{first}~{last}" for first, last in pairs
    )
    texts = dict.fromkeys(DAYS[:5], week) | {"sat": saturday}
    if rest:
        texts |= {DAYS[day]: "휴무" for day in hours.weekdays(rest)}
    return _written(hours.of_days(texts, holiday, rest))


def _written(found: Hours | None) -> str | None:
    return write(found) if found else None


@lru_cache(maxsize=4096)
def _taken(dataset: str, items: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(pickup categories, streams) by the kind of place and its items. Nothing is guessed."""
    pickup = dict.fromkeys((*categories.DATASET_PICKUPS.get(dataset, ()), *categories.pickups(items)))
    streams = dict.fromkeys((*categories.DATASET_STREAMS[dataset], *categories.streams(items)))
    return tuple(name for name in categories.PICKUP_CATEGORIES if name in pickup), tuple(streams)


@lru_cache(maxsize=16384)
def _tags(
    source: str, dataset: str, store: str, pickup: tuple[str, ...], streams: tuple[str, ...], region: Region
) -> str:
    found = categories.tags(
        source=source, dataset=dataset, store=store, pickup=pickup, stream=streams, regions=region.tags
    )
    return array(found)


def _key_of(name_key: str, address_key: str, detail: str | None, point: Point | None) -> str:
    """For rows without a number that lasts: name, address and detail; the point only where there is no address."""
    where = address_key or (f"{point.x:.5f} {point.y:.5f}" if point else "")
    text = f"{name_key}\x1f{where}\x1f{words.key(detail or '')}"
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _text(cell: str) -> str | None:
    found = "" if cell.lower() in addresses.NOTHING else addresses.MOBILE.sub("", cell).strip()
    return found[:LONGEST_TEXT] or None


def _url(cell: str) -> str | None:
    match = _URL.match(cell.strip())
    return match[0] if match else None


@lru_cache(maxsize=8192)
def _area(text: str) -> str:
    return addresses.phone(text)


@lru_cache(maxsize=4096)
def _date(cell: str, today: date) -> date | None:
    """2025-06-30, 2025.6.30, 20250630, 2025년 6월 30일; None for any other, and for a day that is still to come."""
    match = re.match(r"(20\d\d)\D{0,2}(\d{1,2})\D{0,2}(\d{1,2})(?!\d)", cell.strip())
    if not match:
        return None
    try:
        found = date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None
    return found if found <= today else None


def date_of_file(name: str, today: date) -> date | None:
    """Of `수거함_20250630.csv`."""
    match = re.search(r"(?<!\d)(20\d{2})[-_.]?(\d{2})[-_.]?(\d{2})(?!\d)", name)
    return _date("-".join(match.groups()), today) if match else None
