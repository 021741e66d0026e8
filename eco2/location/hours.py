"""Opening hours in the many forms of public data. An unreadable text is unknown, never "closed"."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

from eco2.knowledge import holidays
from eco2.location.opening import DAYS, MIDNIGHT, Hours, Season, Weekly, clock

_KOREAN = "월화수목금토일"

_DASH = r"\s*(?:~|-|–|—|∼|〜|～|부터)\s*"
_TIME = r"(?:(오전|오후|AM|PM|am|pm)\s*)?(?<![\d:])([01]?\d|2[0-4])\s*(?::|시)\s*([0-5]\d)?(?::[0-5]\d)?\s*분?"
_SPAN = re.compile(_TIME + _DASH + r"(?:익일\s*|다음\s*날\s*)?" + _TIME)
_NEVER = re.compile(r"계약\s*종료|폐점|폐업|운영\s*종료|철거|수거\s*종료")
_REST = re.compile(r"휴무|휴일|휴관|휴점|쉼|운영\s*안\s*함|미운영|휴업")
_ALWAYS = re.compile(r"상시|24\s*시간|00?:00" + _DASH + r"24:00|0시" + _DASH + r"24시")
_YEAR_ROUND = re.compile(r"연중\s*무휴")
_SEASON = re.compile(
    r"\(?\s*[가-힣]*절기?\s*[:(]?\s*(\d{1,2})\s*(?:월)?" + _DASH + r"(\d{1,2})\s*월\s*\)?\s*[:)]?\s*"
    r"(?P<hours>" + _TIME + _DASH + _TIME + r")\s*\)?"
)
_WEEKS = re.compile(
    r"(?:매월|매달|격주)?\s*((?:첫|둘|셋|넷|다섯|[1-5])(?:째|번째)?(?:\s*[,·/및]\s*(?:첫|둘|셋|넷|다섯|[1-5])(?:째|번째)?)*)\s*주"
)
_WEEK_NAMES = {"첫": 1, "둘": 2, "셋": 3, "넷": 4, "다섯": 5}
_EVERY = re.compile(r"매주\s*([월화수목금토일](?:\s*[,·/]?\s*[월화수목금토일])*)\s*요일")
_PUBLIC_HOLIDAY = re.compile(r"공휴일|법정\s*휴일|국경일|(?<!정기)(?<!정기\s)휴일")
_BREAK = re.compile(
    r"(?:점심|중식|브레이크|휴게)\s*(?:시간|타임)?\s*[:은는]?\s*\(?\s*"
    r"(\d{1,2})\s*[:시]?\s*([0-5]\d)?\s*분?" + _DASH + r"(\d{1,2})\s*[:시]?\s*([0-5]\d)?\s*분?\s*\)?"
    r"(?P<open>\s*(?:에도\s*)?(?:정상\s*)?(?:운영|근무|이용\s*가능)(?!\s*(?:안|중지|중단|불가)))?"
)
_CLOSED_CLAUSE = re.compile(
    r"(?P<days>(?:(?:매주|매월|매달|격주|마지막|주말|평일|(?:법정\s*)?공휴일|국경일|설날?|구정|추석|신정|명절|당일|연휴|정기|"
    r"(?<![가-힣])[월화수목금토일](?:요일)?(?:\s*[~-]\s*[월화수목금토일](?:요일)?)?|"
    r"(?<![\d:])(?:첫|둘|셋|넷|다섯|[1-5])(?:째|번째)?(?:\s*주)?)(?:은|는|에는|에)?[\s,·/+및와과]*){1,12})"
    r"(?:휴무|휴관|휴점|휴업|휴진|쉼|제외|미운영|운영\s*안\s*함)"
)
"""Days of rest that stand among the hours, as "(토, 일, 공휴일 휴무)"."""
_SOME_WEEKS = re.compile(r"(?:첫|둘|셋|넷|다섯|[1-5])\s*(?:째|번째)|격주|마지막")
_DAY_WORD = re.compile(
    r"(?P<all>매일|전일|연중)|(?P<week>평일|주중)|(?P<end>주말)|"
    r"(?P<range>[월화수목금토일])(?:요일)?\s*[~-]\s*(?P<until>[월화수목금토일])(?:요일)?|"
    r"(?P<days>(?:(?<![가-힣0-9])[월화수목금토일](?:요일)?(?:\s*[,·/및]\s*)?)+)(?=[\s:(),·/휴0-9]|오[전후]|$)"
)
_PIECES = re.compile(r"[\n;/]|(?<![월화수목금토일]),(?!\s*\d\s*주)")
_NAMED_CLAUSE = re.compile(r"[(\s]*(?:설|구정|추석|신정|명절)[^()]*?(?:휴무|휴관|휴업|휴점|쉼|제외)\s*\)?")


def _minutes(half: str | None, hour: str, minute: str | None) -> int:
    found = int(hour)
    if half in ("오후", "PM", "pm") and found < 12:
        found += 12
    elif half in ("오전", "AM", "am") and found == 12:
        found = 0
    return min(MIDNIGHT, found * 60 + int(minute or 0))


def _spans(text: str) -> list[tuple[int, int]]:
    """(from, until) in minutes; `until` beyond MIDNIGHT belongs to the next day."""
    found = []
    for match in _SPAN.finditer(text):
        first, last = _minutes(*match.groups()[:3]), _minutes(*match.groups()[3:])
        if last <= first and _is_afternoon(*match.groups()[:2], *match.groups()[3:5]):
            last += MIDNIGHT // 2
        if first == last:  # from nine to nine says nothing, unless it is a whole day
            if first not in (0, MIDNIGHT):
                continue
            last = first + MIDNIGHT
        found.append((first, last if last > first else last + MIDNIGHT))
    return found


def _is_afternoon(half: str | None, hour: str, last_half: str | None, last_hour: str) -> bool:
    """True for "9시~6시", from a morning to an hour without a zero before it: until six by the clock on the wall. Who
    writes "10:00~02:00" means the night."""
    return half not in ("오후", "PM", "pm") and 5 <= int(hour) < 12 and last_half is None and last_hour in "12345678"


def _without_breaks(spans: list[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """Hours less the breaks that the text names. "12:30~1:30" is after noon."""
    for match in _BREAK.finditer(text):
        if match["open"]:
            continue
        first, last = int(match[1]) * 60 + int(match[2] or 0), int(match[3]) * 60 + int(match[4] or 0)
        first, last = (at + MIDNIGHT // 2 if at < 7 * 60 else at for at in (first, last))
        if first < last <= MIDNIGHT:
            cut = (
                (begin, end)
                for span in spans
                for begin, end in ((span[0], min(span[1], first)), (max(span[0], last), span[1]))
            )
            spans = [(begin, end) for begin, end in cut if begin < end]
    return spans


def _put(weekly: Weekly, day: int, spans: Iterable[tuple[int, int]]) -> None:
    today = weekly.setdefault(DAYS[day], [])
    for first, last in spans:
        today.append([clock(first), clock(min(last, MIDNIGHT))])
        if last > MIDNIGHT and last - MIDNIGHT < MIDNIGHT:
            weekly.setdefault(DAYS[(day + 1) % 7], []).append([clock(0), clock(last - MIDNIGHT)])


def _tidy(weekly: Weekly) -> Weekly:
    return {day: sorted(weekly[day]) for day in DAYS if day in weekly}


@dataclass(frozen=True)
class _Day:
    """One cell about one day. `spans` None: unknown; empty: a day of rest."""

    spans: tuple[tuple[int, int], ...] | None
    never: bool = False
    weeks: tuple[int, ...] = ()
    season: tuple[str, str, tuple[tuple[int, int], ...]] | None = None


def _weeks(text: str) -> tuple[int, ...]:
    match = _WEEKS.search(text)
    if not match:
        return ()
    words = re.findall(r"첫|둘|셋|넷|다섯|[1-5]", match[1])
    return tuple(sorted({int(word) if word.isdecimal() else _WEEK_NAMES[word] for word in words}))


def _season(text: str) -> tuple[tuple[str, str, tuple[tuple[int, int], ...]] | None, str]:
    """The season's own hours, and the text without them."""
    match = _SEASON.search(text)
    if not match:
        return None, text
    first, last = int(match[1]), int(match[2])
    if not (1 <= first <= 12 and 1 <= last <= 12):
        return None, text
    end = date(2024, last, 28) + timedelta(days=4)
    until = end - timedelta(days=end.day)
    spans = tuple(_spans(match["hours"]))
    return (f"{first:02d}-01", f"{last:02d}-{until.day:02d}", spans), text[: match.start()] + text[match.end() :]


@lru_cache(maxsize=4096)
def _day(text: str, day: int) -> _Day:
    plain = " ".join(text.split())
    if not plain:
        return _Day(None)
    if _NEVER.search(plain):
        return _Day((), never=True)
    every = _EVERY.search(plain)
    if every and _KOREAN[day] not in every[1] and not _CLOSED_CLAUSE.search(plain):
        return _Day(())
    season, rest = _season(plain)
    spans = tuple(_without_breaks(_spans(_BREAK.sub(" ", rest)), rest))
    weeks = _weeks(plain)
    if spans:
        return _Day(spans, weeks=() if _REST.search(plain) else weeks, season=season)
    if _ALWAYS.search(plain):
        return _Day(((0, MIDNIGHT),), season=season)
    if _REST.search(plain) or plain in ("-", "X", "x"):
        return _Day(()) if not weeks else _Day(None)
    return _Day(None)


def of_days(texts: Mapping[str, str], holiday: str = "", closed_days: str = "") -> Hours | None:
    """From a cell for each day of the week, one about holidays, one about days of rest. None where all are empty."""
    return _of_days(tuple(texts.get(day, "") for day in DAYS), holiday, closed_days)


@lru_cache(maxsize=8192)
def _of_days(texts: tuple[str, ...], holiday: str, closed_days: str) -> Hours | None:
    if not any(text.strip() for text in (*texts, holiday, closed_days)):
        return None
    cells = [_day(text, number) for number, text in enumerate(texts)]
    raw = "; ".join(dict.fromkeys(t.strip() for t in (*texts, holiday, closed_days) if t.strip()))
    known = [cell for cell in cells if cell.spans is not None]
    if known and all(cell.never for cell in known):
        return Hours(raw, closed=True)
    weekly: Weekly = {}
    summer: Weekly = {}
    for number, cell in enumerate(cells):
        if cell.spans is not None:
            _put(weekly, number, cell.spans)
        if cell.season:
            _put(summer, number, cell.season[2])
    always = len(known) == 7 and all(cell.spans == ((0, MIDNIGHT),) for cell in known)
    seasons = [Season(*cell.season[:2], _tidy(summer)) for cell in cells if cell.season]
    found = Hours(
        raw,
        weekly={} if always else _tidy(weekly),
        always=always,
        weeks_of_month=tuple(sorted({week for cell in cells for week in cell.weeks})),
        season=tuple(seasons[:1]),
    )
    return _with_holidays(found, holiday, closed_days)


def _with_holidays(hours: Hours, holiday: str, closed_days: str) -> Hours:
    text, said = f"{holiday} {closed_days}", ""
    spans = _spans(holiday)
    if spans:
        weekly: Weekly = {}
        _put(weekly, 0, ((first, min(last, MIDNIGHT)) for first, last in spans))
        hours, said = replace(hours, holiday_hours=weekly["mon"]), "open"
    elif _YEAR_ROUND.search(text) or _ALWAYS.search(holiday):
        said = "open"
    elif _REST.search(holiday) or (_PUBLIC_HOLIDAY.search(closed_days)):
        said = "closed"
    named = list(dict.fromkeys((*_named_holidays(holiday), *_named_holidays(closed_days and f"{closed_days} 휴무"))))
    if named and said == "closed" and not _PUBLIC_HOLIDAY.search(text):
        said = ""
    return replace(hours, holiday=said, closed_on=tuple(named))


def _named_holidays(text: str) -> list[str]:
    """ "설·추석 당일 휴무" closes on two days of the year, "명절 연휴" on all days around them."""
    if not (_REST.search(text) or "제외" in text):
        return []
    return holidays.named(text)


def of_text(text: str, closed_days: str = "") -> Hours | None:
    """From one cell about all days, as "평일 09:00~18:00, 토 09:00~13:00, 일·공휴일 휴무". None where it is empty."""
    return _of_text(text.strip(), closed_days.strip())


@lru_cache(maxsize=8192)
def _of_text(text: str, closed_days: str) -> Hours | None:
    if not text and not closed_days:
        return None
    cells = dict.fromkeys(DAYS, "")
    holiday = ""
    days: list[int] = list(range(7))
    raw = "; ".join(filter(None, (text, closed_days)))
    closed_days = ", ".join(filter(None, (closed_days, *(clause["days"] for clause in _CLOSED_CLAUSE.finditer(text)))))
    text = _a_line_for_each(_CLOSED_CLAUSE.sub(" ", text))
    for piece in _PIECES.split(text):
        clause = _NAMED_CLAUSE.search(piece)
        if clause:
            holiday += f" {clause[0]}"
            piece = f"{piece[: clause.start()]} {piece[clause.end() :]}"
            if not piece.strip():
                continue
        match = _DAY_WORD.search(piece)
        about_holidays = _PUBLIC_HOLIDAY.search(piece) is not None
        if match and not _EVERY.search(piece):
            days = _days_of(match)
            piece = f"{piece[: match.start()]} {piece[match.end() :]}"
        elif about_holidays:
            days = []
        if about_holidays:
            holiday += f" {piece}"
        if about_holidays and not match:
            continue
        for day in days:
            cells[DAYS[day]] += f" {piece}"
    if _YEAR_ROUND.search(text):
        holiday += " 연중무휴"
    some_weeks = (
        _WEEKS.search(closed_days) or _SOME_WEEKS.search(closed_days)
    ) is not None  # "매월 둘째 주 일요일": nothing is known about a Sunday
    for day in weekdays(closed_days):
        cells[DAYS[day]] = "" if some_weeks else "휴무"
    found = _of_days(tuple(cells[day] for day in DAYS), holiday.strip(), closed_days)
    return found and replace(found, raw=raw)


def _a_line_for_each(text: str) -> str:
    """ "평일 09:00~18:00 토 09:00~13:00" with a line for each of its days."""
    spans = list(_SPAN.finditer(_BREAK.sub(lambda match: " " * len(match[0]), text)))
    first = _DAY_WORD.search(text)
    if not first or len(spans) < 2 or first.start() > spans[0].start():
        return text
    for one, other in reversed(list(pairwise(spans))):
        between = text[one.end() : other.start()]
        if _DAY_WORD.search(between) or _PUBLIC_HOLIDAY.search(between):
            text = f"{text[: one.end()]}\n{text[one.end() :]}"
    return text


def weekdays(text: str) -> list[int]:
    """Weekdays that are named, as in "일요일, 공휴일" or "토+일"."""
    plain = _PUBLIC_HOLIDAY.sub(" ", text)
    found = {
        number for number, name in enumerate(_KOREAN) if re.search(rf"(?<![가-힣]){name}(?:요일|(?![가-힣]))", plain)
    }
    for word in _DAY_WORD.finditer(plain):
        found.update(_days_of(word) if word["week"] or word["end"] or word["range"] else ())
    return sorted(found)


def _days_of(match: "re.Match[str]") -> list[int]:
    if match["all"]:
        return list(range(7))
    if match["week"]:
        return list(range(5))
    if match["end"]:
        return [5, 6]
    if match["range"]:
        first, last = _KOREAN.index(match["range"]), _KOREAN.index(match["until"])
        return [day % 7 for day in range(first, last + 1 if last >= first else last + 8)]
    return [_KOREAN.index(letter) for letter in re.sub("요일", "", match["days"]) if letter in _KOREAN]
