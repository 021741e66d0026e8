"""`report.generate`: the day's figures as a page and as a PDF, for operators.

Both are made of one template; its charts are SVG, so nothing has to be drawn twice.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eco2 import knowledge
from eco2.contracts.tasks import Outcome
from eco2.core.errors import NotFound
from eco2.core.postgres import open_database
from eco2.jobs import charts, stats, store
from eco2.jobs.objects import OpsStore
from eco2.jobs.schedule import LOCAL
from eco2.jobs.settings import ReportSettings

DAYS = 14
REMEMBERED = ("exact", "near", "shared")
WEEKDAYS = "월화수목금토일"

Day = Mapping[str, Mapping[str, float]]
"""Metric → label → value of one day."""


class NoStatistics(NotFound):
    """The statistics of this day are not computed; run `eco2 task run analytics.daily DAY`, which reports it, too."""

    code = "NO_STATISTICS"


@dataclass(frozen=True)
class Cache:
    """Count of paid and embedded inference calls that were saved, and their cost."""

    remembered: float
    asked: float
    saved_usd: float | None

    @property
    def share(self) -> float | None:
        total = self.remembered + self.asked
        return self.remembered / total if total else None


def cache_of(day: Day) -> Cache:
    looks = day.get("looks", {})
    remembered = sum(looks.get(source, 0) for source in REMEMBERED)
    asked = sum(looks.values()) - remembered
    cost = day.get("cost_usd", {}).get("llm")
    return Cache(remembered, asked, None if cost is None or not asked else cost / asked * remembered)


def share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def money(value: float | None) -> str:
    return "–" if value is None else f"US${value:,.2f}"


def _row(days: Mapping[date, Day], metric: str, label: str) -> list[float | None]:
    return [day.get(metric, {}).get(label) for day in days.values()]


def _charts(days: Mapping[date, Day], today: Day, streams: Mapping[str, str]) -> dict[str, Markup]:
    names = [f"{day.month}/{day.day}" for day in days]
    scans = {"완료": "completed", "실패": "failed", "진행 중": "open"}
    named = {streams.get(stream, stream): count for stream, count in today.get("streams", {}).items()}
    caches = [cache_of(day) if day.get("looks") else None for day in days.values()]
    looks: dict[str, list[float | None]] = {
        "기억한 결과": [cache.remembered if cache else None for cache in caches],
        "모델 호출": [cache.asked if cache else None for cache in caches],
    }
    return {
        "scans": charts.stacked(names, {ko: _row(days, "scans", label) for ko, label in scans.items()}),
        "streams": charts.ranked(named),
        "looks": charts.stacked(names, looks),
        "seconds": charts.lines(
            names, {"중앙값": _row(days, "seconds", "p50"), "느린 5 %": _row(days, "seconds", "p95")}
        ),
        "cost": charts.stacked(names, {"비용": _row(days, "cost_usd", "llm")}),
    }


def render(day: date, found: Mapping[date, Day], streams: Mapping[str, str]) -> str:
    """The page of `day`. `found` has the days that were computed; `streams` the names of the collection streams."""
    days = {day - timedelta(days=n): found.get(day - timedelta(days=n), {}) for n in reversed(range(DAYS))}
    today = days[day]
    environment = Environment(
        loader=PackageLoader("eco2.jobs"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"money": money, "number": charts.number}
    before = days[day - timedelta(days=1)].get("scans", {}).get("submitted")
    return environment.get_template("report.html").render(
        day=day,
        weekday=WEEKDAYS[day.weekday()],
        today=today,
        before=before,
        cache=cache_of(today),
        share=share,
        charts=_charts(days, today, streams),
    )


def to_pdf(page: str) -> bytes:
    """Imported here: the renderer takes 60 MB, and only this task needs it. ValueError: the page asks for a file."""
    from weasyprint import HTML
    from weasyprint.urls import FatalURLFetchingError, URLFetcher

    # A report is whole in itself; what it would fetch can only come from a name that somebody else chose.
    fetcher = URLFetcher(allowed_protocols=(), fail_on_errors=True)
    try:
        pdf: bytes = HTML(string=page, url_fetcher=fetcher).write_pdf()
    except FatalURLFetchingError as error:
        raise ValueError("a report fetches nothing") from error
    return pdf


def key(day: date, kind: str) -> str:
    return f"reports/{day}.{kind}"


async def generate(argument: str) -> Outcome:
    """`report.generate`: write the report of a day; writing it again replaces it."""
    settings = ReportSettings()
    async with open_database(settings, repeat=True) as db:
        day = stats.a_day(argument, (await store.now(db)).astimezone(LOCAL).date())
        found = await store.stats(db, day - timedelta(days=DAYS - 1), day)
    if day not in found:
        raise NoStatistics
    page = render(day, found, {stream.id: stream.ko for stream in knowledge.load().streams.values()})
    pdf = await asyncio.to_thread(to_pdf, page)
    objects = OpsStore(settings)
    await objects.put(key(day, "html"), page.encode(), "text/html; charset=utf-8")
    await objects.put(key(day, "pdf"), pdf, "application/pdf")
    return Outcome({"html": key(day, "html"), "pdf": key(day, "pdf"), "bytes": len(pdf)})
