"""Routes of info-api."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from eco2.core.app import BadUser, MissingUser, any_user, error_responses, opened
from eco2.core.errors import Unavailable
from eco2.info import service
from eco2.info.service import Services
from eco2.info.store import Article

router = APIRouter(prefix="/api/v1/info", tags=["info"], dependencies=[any_user])

At = Annotated[Services, opened(Services)]

MAX_AGE = 30


class NewsArticle(BaseModel):
    """`source`: naver, newsdata, rss, or notice for one of our own, which has no category."""

    id: Annotated[str, Field(examples=["9f2c4e1a7b3d5f60718293a4b5c6d7e8"])]
    title: Annotated[str, Field(examples=["투명페트병 별도 배출, 내년부터 단독주택까지"])]
    url: Annotated[str, Field(examples=["https://news.example.com/articles/1"])]
    snippet: Annotated[str, Field(examples=["라벨을 떼고 눌러서 내놓는다."])]
    source: Annotated[str, Field(examples=["rss"])]
    source_name: Annotated[str, Field(examples=["정책브리핑"])]
    published_at: Annotated[datetime, Field(examples=["2026-11-30T00:00:00Z"])]
    thumbnail_url: Annotated[str | None, Field(examples=["https://news.example.com/1.jpg"])] = None
    category: Annotated[str | None, Field(examples=["environment"])] = None
    source_icon_url: Annotated[str | None, Field(examples=["https://news.example.com/icon.png"])] = None
    video_url: Annotated[str | None, Field(examples=[None])] = None
    keywords: Annotated[list[str], Field(examples=[["재활용"]])]
    ai_tag: Annotated[str | None, Field(examples=[None])] = None

    @classmethod
    def of(cls, article: Article) -> "NewsArticle":
        return cls.model_construct(**{name: getattr(article, name) for name in cls.model_fields})


class Meta(BaseModel):
    total_cached: Annotated[int, Field(description="Articles of this kind that we have", examples=[128])]
    cache_expires_in: Annotated[int, Field(description="Seconds until they are counted again", examples=[42])]


class NewsPage(BaseModel):
    articles: list[NewsArticle]
    next_cursor: Annotated[
        str | None,
        Field(
            description="Give it as `cursor` for the next page",
            examples=["1796000400000_9f2c4e1a7b3d5f60718293a4b5c6d7e8"],
        ),
    ]
    has_more: Annotated[bool, Field(examples=[True])]
    meta: Meta


class NewsCategory(BaseModel):
    id: Annotated[str, Field(examples=["environment"])]
    name: Annotated[str, Field(examples=["환경"])]


class NewsCategories(BaseModel):
    categories: list[NewsCategory]


class Health(BaseModel):
    status: Annotated[str, Field(examples=["ok"])]
    service: Annotated[str, Field(examples=["info-api"])]


@router.get(
    "/news",
    operation_id="getNews",
    response_model=NewsPage,
    summary="News and notices, the newest first",
    responses=error_responses(
        MissingUser, BadUser, service.InvalidCategory, service.InvalidSource, service.InvalidCursor, Unavailable
    ),
)
async def news(
    at: At,
    response: Response,
    category: Annotated[str, Query(max_length=50, description="`all`, or one of the categories")] = service.ALL,
    source: Annotated[str, Query(max_length=50, description="all, naver, newsdata, rss, notice")] = service.ALL,
    cursor: Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
    has_image: Annotated[bool, Query(description="Only articles with a picture")] = False,
) -> NewsPage:
    """While a source is away its earlier articles are shown. A next page repeats no article."""
    page = await service.page(at.db, at.categories, category, source, has_image, cursor, limit)
    total, seconds = await at.counts.total(category, source, has_image)
    response.headers["Cache-Control"] = f"private, max-age={MAX_AGE}"
    return NewsPage(
        articles=[NewsArticle.of(one) for one in page.articles],
        next_cursor=page.next_cursor,
        has_more=page.next_cursor is not None,
        meta=Meta(total_cached=total, cache_expires_in=seconds),
    )


_LISTED = error_responses(MissingUser, BadUser)


@router.get(
    "/news/categories",
    operation_id="listNewsCategories",
    response_model=NewsCategories,
    summary="The categories of news",
    responses=_LISTED,
)
async def news_categories(at: At) -> NewsCategories:
    """`all` first."""
    found = at.categories.all
    rows = [NewsCategory(id=service.ALL, name="전체"), *(NewsCategory(id=one.id, name=one.name) for one in found)]
    return NewsCategories(categories=rows)


@router.get(
    "/categories",
    operation_id="listCategoriesOfNews",
    response_model=NewsCategories,
    summary="The same",
    responses=_LISTED,
)
async def categories(at: At) -> NewsCategories:
    return await news_categories(at)


@router.get("/health", operation_id="getInfoHealth", response_model=Health, summary="It answers", responses=_LISTED)
async def health() -> Health:
    return Health(status="ok", service="info-api")
