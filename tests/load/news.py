"""The news of a hundred thousand articles, page by page over the edge. Fills the stack's database first."""

import time
from collections.abc import Collection

from eco2.core.postgres import open_database
from eco2.core.settings import DatabaseSettings
from tests.load.bench import Bench
from tests.load.client import percentile
from tests.load.report import Measure

ARTICLES, ARTICLES_QUICK = 100_000, 20_000
MARK = "bench-"
QUERIES = (
    "",
    "category=energy",
    "category=ai&has_image=true&limit=50",
    "source=naver&limit=50",
    "category=environment&source=newsdata&has_image=true",
)
FILL = """
INSERT INTO info.articles
    (id, url, title, plain_title, snippet, source, source_name, thumbnail_url, category, published_at)
SELECT 'bench-' || n, 'https://a.example.com/' || n, '소식 ' || n, '소식' || n, repeat('글 ', 100),
    (ARRAY['naver', 'newsdata', 'rss'])[1 + n %% 3], '견본',
    CASE WHEN n %% 4 = 0 THEN 'https://p.example.com/' || n END,
    (ARRAY['environment', 'energy', 'ai'])[1 + n / 3 %% 3], now() - n * interval '2 minutes'
FROM generate_series(1, %(count)s::bigint) n
"""


async def news_page(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """One client, one request after the other: the first pages of each kind, and pages far behind."""
    count = bench.sized(ARTICLES, ARTICLES_QUICK)
    settings = DatabaseSettings(database_url=bench.target.environment["ECO2_DATABASE_URL"])
    async with open_database(settings, repeat=False) as db:
        try:
            await db.row(FILL, count=count)
            await db.row("ANALYZE info.articles")
            times = await _read(bench, bench.sized(400, 100))
        finally:
            await db.row("DELETE FROM info.articles WHERE starts_with(id, %(mark)s)", mark=MARK)
    every = [one for rows in times.values() for one in rows]
    details = {"articles": count, "requests": len(every), "p50": round(1000 * percentile(every, 50), 2)}
    slowest = {f"p95 {query or 'all'}": round(1000 * percentile(rows, 95), 2) for query, rows in times.items()}
    return [Measure("news_page_p95", 1000 * percentile(every, 95), {**details, **slowest})]


async def _read(bench: Bench, each: int) -> dict[str, list[float]]:
    """Seconds of each request by query; the first few open connections and count the articles, and are left out."""
    user = bench.target.users(1)[0]
    found: dict[str, list[float]] = {}
    for query in QUERIES:
        cursor, times = "", []
        for _ in range(each + 20):
            url = f"{bench.target.url}/api/v1/info/news?{query}{cursor}"
            start = time.perf_counter()
            async with bench.client.session.get(url, headers=user.headers) as response:
                body = await response.json()
            times.append(time.perf_counter() - start)
            if response.status != 200:
                raise RuntimeError(f"news answered {response.status}")
            cursor = f"&cursor={body['next_cursor']}" if body["next_cursor"] else ""
        found[query] = times[20:]
    return found
