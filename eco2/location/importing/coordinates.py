"""Coordinates of public data: degrees, degrees and minutes, and the plane systems of Korea."""

import math
import re
from dataclasses import dataclass
from typing import Literal

SOUTH, NORTH, WEST, EAST = 33.0, 39.0, 124.0, 132.0
WGS84 = 4326
WCONGNAMUL = 0
"""Kakao's system: EPSG 5181 times 2.5. Not a number of EPSG's."""
SYSTEMS = {"4326": 4326, "5181": 5181, "5179": 5179, "5186": 5186, "5174": 5174, "2097": 2097, "wcongnamul": WCONGNAMUL}
_PLANES = re.compile(r"(5181|5179|5186|5174|2097)")
_NAMES = (
    (re.compile(r"utm-?k", re.IGNORECASE), 5179),
    (re.compile(r"grs80", re.IGNORECASE), 5181),
    (re.compile(r"wcong|콩나물", re.IGNORECASE), WCONGNAMUL),
    (re.compile(r"wgs\s*84|위도|경도|latitude|longitude", re.IGNORECASE), WGS84),
)

Problem = Literal["coordinates_missing", "coordinates_broken", "coordinates_outside", "coordinates_unknown_system"]
MISSING: Problem = "coordinates_missing"
BROKEN: Problem = "coordinates_broken"
OUTSIDE: Problem = "coordinates_outside"
UNKNOWN: Problem = "coordinates_unknown_system"


@dataclass(frozen=True)
class Point:
    """`x` east and `y` north in the system `srid`, which PostGIS knows."""

    x: float
    y: float
    srid: int
    swapped: bool = False


_ORIGIN = re.compile(r"중부\s*원점|베셀|bessel", re.IGNORECASE)


def is_ambiguous(header: str) -> bool:
    """True for a title that names an origin only, which systems hundreds of metres apart share (EPSG 5181, 5174, 2097,
    and 5186)."""
    return system_of(header) is None and _ORIGIN.search(header) is not None


def system_of(header: str) -> int | None:
    """The system that a column's title names; it counts for more than the size of the numbers."""
    match = _PLANES.search(header)
    if match:
        return int(match[1])
    return next((srid for pattern, srid in _NAMES if pattern.search(header)), None)


_NUMBER = re.compile(r"[-+]?\d{1,9}(?:\.\d*)?(?:[eE][-+]?\d{1,2})?")
_DMS = re.compile(
    r"[NEne]?\s*(\d{1,3})\s*(?:°|º|도|-|\s)\s*(\d{1,2}(?:\.\d+)?)\s*(?:['′’분-]|\s|$)\s*"
    r"(?:(\d{1,2}(?:\.\d+)?)\s*(?:\"|″|”|''|초)?)?\s*[NEne]?"
)
_EMPTY = frozenset(("", "-", "없음", "null", "none", "n/a", "0", "0.0", "0.00", "미상"))


def number(text: str) -> float | None:
    """The number of a cell, also of degrees and minutes; None where it is broken. "127.7.23" and "37.5?" are."""
    plain = text.strip()
    if _NUMBER.fullmatch(plain):
        found = float(plain)
        return found if math.isfinite(found) else None
    match = _DMS.fullmatch(plain)
    if not match:
        return None
    degrees, minutes, seconds = int(match[1]), float(match[2]), float(match[3] or 0)
    return degrees + minutes / 60 + seconds / 3600 if minutes < 60 and seconds < 60 else None


def is_empty(text: str) -> bool:
    plain = text.strip().lower()
    return plain in _EMPTY or plain.strip("0.") == ""


def read(x_text: str, y_text: str, system: int | None) -> Point | Problem:
    """Point of two cells, longitude or east first. `system` is that of the file, if known. Nothing is mended."""
    if is_empty(x_text) and is_empty(y_text):
        return MISSING
    x, y = number(x_text), number(y_text)
    if x is None or y is None:
        return BROKEN
    if system in (None, WGS84) and abs(x) <= 180 and abs(y) <= 180:
        return _degrees(x, y)
    if system == WGS84:
        return OUTSIDE
    return _plane(x, y, _guessed(x, y) if system is None else system)


def _degrees(x: float, y: float) -> Point | Problem:
    if SOUTH <= y <= NORTH and WEST <= x <= EAST:
        return Point(x, y, WGS84)
    if SOUTH <= x <= NORTH and WEST <= y <= EAST:
        return Point(y, x, WGS84, swapped=True)
    return OUTSIDE


def _guessed(x: float, y: float) -> int | None:
    """UTM-K and Kakao's system are told by their size; those around 38° N look alike, so a title has to name them."""
    if 700_000 <= x <= 1_450_000 and 1_350_000 <= y <= 2_150_000:
        return 5179
    if 700_000 <= y <= 1_350_000 and 150_000 <= x <= 1_400_000:
        return WCONGNAMUL
    return None


_BOUNDS = {
    5179: (700_000, 1_450_000, 1_350_000, 2_150_000),
    5181: (-100_000, 700_000, -80_000, 700_000),
    5186: (-100_000, 700_000, 20_000, 800_000),
    5174: (-100_000, 700_000, -80_000, 700_000),
    2097: (-100_000, 700_000, -80_000, 700_000),
    WCONGNAMUL: (-250_000, 1_750_000, -200_000, 1_750_000),
}


def _plane(x: float, y: float, srid: int | None) -> Point | Problem:
    if srid is None:
        return UNKNOWN
    west, east, south, north = _BOUNDS[srid]
    swapped = False
    if not (west <= x <= east and south <= y <= north):
        if not (west <= y <= east and south <= x <= north):
            return OUTSIDE
        x, y, swapped = y, x, True
    if srid == WCONGNAMUL:
        return Point(x / 2.5, y / 2.5, 5181, swapped)
    return Point(x, y, srid, swapped)
