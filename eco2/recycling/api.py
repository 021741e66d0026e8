"""Routes of recycling-api. The catalogue is public and cacheable; questions need a user."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from eco2.core.app import AnyUser, BadUser, MissingUser, Text, error_responses, opened, services_of
from eco2.core.rendered import is_known
from eco2.knowledge import Item, Knowledge, Lang, Region, Rule, Situation, Stream
from eco2.knowledge.answer import drop_offs
from eco2.knowledge.asking import LONGEST_QUESTION
from eco2.knowledge.models import DropOff, Source
from eco2.llm import budget
from eco2.recycling import service
from eco2.recycling.service import Services

MAX_AGE = 300  # seconds that a client need not ask again
LONGEST_PAGE = 500

_ID = "pizza_box"


class Versioned(APIRoute):
    """A route whose answer changes only with the knowledge base, whose version is its ETag."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def versioned(request: Request) -> Response:
            etag = f'"{services_of(request, Services).knowledge.version}"'
            headers = {"ETag": etag, "Cache-Control": f"public, max-age={MAX_AGE}"}
            if request.method == "GET" and is_known(request, etag):
                return Response(status_code=304, headers=headers)
            response = await handle(request)
            if request.method == "GET" and response.status_code == 200:
                response.headers.update(headers)
            return response

        return versioned


At = Annotated[Services, opened(Services)]
router = APIRouter(prefix="/api/v1/recycling", tags=["recycling"], route_class=Versioned)


class ItemSummary(BaseModel):
    id: Annotated[str, Field(examples=[_ID])]
    name: Annotated[str, Field(examples=["피자 상자"])]
    name_en: Annotated[str, Field(examples=["pizza box"])]
    group: Annotated[str, Field(examples=["paper"])]
    stream: Annotated[str, Field(examples=["paper_cardboard"])]
    stream_name: Annotated[str, Field(examples=["골판지"])]

    @classmethod
    def of(cls, knowledge: Knowledge, item: Item) -> "ItemSummary":
        stream = knowledge.stream(item.stream)
        return cls(id=item.id, name=item.ko, name_en=item.en, group=item.group, stream=stream.id, stream_name=stream.ko)


class ItemPage(BaseModel):
    items: list[ItemSummary]
    total: Annotated[int, Field(examples=[559])]
    next_cursor: Annotated[str | None, Field(description="Give it as `cursor` for the next page", examples=[_ID])]


class DisposalStream(Stream):
    """One way of getting rid of things."""


class ItemDetail(BaseModel):
    """An item as it stands in the knowledge base, with the rule of its stream and where it is taken."""

    item: Item
    stream: DisposalStream
    rule: Rule
    drop_offs: list[DropOff]
    sources: list[Source]

    @classmethod
    def of(cls, knowledge: Knowledge, item: Item) -> "ItemDetail":
        rule = knowledge.rule(item.stream)
        names = dict.fromkeys((*item.sources, *rule.sources))
        return cls(
            item=item,
            stream=DisposalStream.model_validate(knowledge.stream(item.stream).model_dump(by_alias=True)),
            rule=rule,
            drop_offs=drop_offs(knowledge, item, item.stream),
            sources=[knowledge.sources[name] for name in names if name in knowledge.sources],
        )


class Question(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"question": "기름 묻은 피자박스는 어떻게 버려요?", "district": "서울 강서구"}]}
    )

    question: Annotated[Text, Field(min_length=1, max_length=LONGEST_QUESTION)]
    district: Annotated[
        Text | None, Field(max_length=100, description="Name or id of a si, gun or gu; else that of the question")
    ] = None
    lang: Annotated[Lang | None, Field(description="Language of the answer; else that of the question")] = None


class District(BaseModel):
    id: Annotated[str, Field(examples=["seoul_gangseo"])]
    name: Annotated[str, Field(examples=["서울 강서구"])]


class Place(BaseModel):
    id: Annotated[str, Field(examples=["community_centre"])]
    name: Annotated[str, Field(examples=["주민센터"])]
    where: Annotated[str, Field(examples=["가까운 주민센터에 맡기세요."])]


class Reference(BaseModel):
    id: Annotated[str, Field(examples=["guideline"])]
    title: Annotated[str, Field(examples=["재활용가능자원의 분리수거 등에 관한 지침"])]
    publisher: Annotated[str, Field(examples=["환경부"])]
    date: Annotated[str, Field(examples=["2024"])]
    url: Annotated[str, Field(examples=["https://wasteguide.or.kr"])] = ""


class Answered(BaseModel):
    """Advice about one thing of the question. `stream` is where it goes as it was described; `streams` has all that
    may apply, that one first. `item` is null for a thing that is not known but may be dangerous."""

    item: Annotated[str | None, Field(examples=[_ID])]
    name: Annotated[str, Field(examples=["피자 상자"])]
    stream: Annotated[str, Field(examples=["general_bag"])]
    stream_name: Annotated[str, Field(examples=["일반쓰레기(종량제봉투)"])]
    streams: Annotated[list[str], Field(examples=[["general_bag", "paper_cardboard"]])]
    situations: Annotated[list[str], Field(examples=[["grease_paper"]])]
    steps: Annotated[list[str], Field(examples=[["기름 밴 부분은 뜯어 종량제봉투에 버리세요."]])]
    donts: Annotated[list[str], Field(examples=[["배터리·가스통·형광등·음식물은 종량제봉투에 넣지 마세요."]])]
    drop_off: list[Place]
    sources: list[Reference]
    confidence: Annotated[str, Field(examples=["high"])]


class Meaning(BaseModel):
    item: Annotated[str, Field(examples=["paper_cup"])]
    name: Annotated[str, Field(examples=["종이컵"])]
    stream: Annotated[str, Field(examples=["paper_mixed"])]


class FirstAid(BaseModel):
    """Acute danger: first steps in two lines, and the number to call (119, a vet, a doctor)."""

    id: Annotated[str, Field(examples=["swallowed_battery"])]
    call: Annotated[str, Field(examples=["119"])]
    first: Annotated[list[str], Field(examples=[["토하게 하지 마세요.", "바로 119에 전화하세요."]])]


class About(BaseModel):
    """A question about how collection works."""

    id: Annotated[str, Field(examples=["collection_days"])]
    name: Annotated[str, Field(examples=["내놓는 날과 시간"])]


class Answer(BaseModel):
    """`items` is empty when the question names nothing that we know; then `clarify` asks, or `answer` declines."""

    lang: Annotated[Lang, Field(examples=["ko"])]
    district: Annotated[District | None, Field(examples=[{"id": "seoul_gangseo", "name": "서울 강서구"}])] = None
    items: list[Answered]
    answer: Annotated[
        str, Field(examples=["기름 밴 종이는 재활용되지 않으니 이 피자 상자는 종량제봉투에 버려 주세요."])
    ]
    emergency: Annotated[
        FirstAid | None, Field(description="First steps in an emergency, before everything else", examples=[None])
    ] = None
    topics: Annotated[list[About] | None, Field(description="Answers about how collection works", examples=[None])] = (
        None
    )
    clarify: Annotated[
        str | None, Field(description="A question back", examples=["종이컵인가요, 플라스틱컵인가요?"])
    ] = None
    candidates: Annotated[
        list[Meaning] | None,
        Field(
            description="Possible meanings",
            examples=[[{"item": "paper_cup", "name": "종이컵", "stream": "paper_mixed"}]],
        ),
    ] = None
    calendar: Annotated[
        str | None,
        Field(
            description="Path of the collection days in the question; request it when you show them",
            examples=[
                "/api/v1/recycling/regions/%EC%84%9C%EC%9A%B8%ED%8A%B9%EB%B3%84%EC%8B%9C%20%EB%A7%88%ED%8F%AC%EA%B5%AC/calendar?stream=vinyl"
            ],
        ),
    ] = None


Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before")]
Limit = Annotated[int, Query(ge=1, le=LONGEST_PAGE)]


@router.get(
    "/items",
    operation_id="listItems",
    response_model=ItemPage,
    summary="The catalogue of items",
    responses=error_responses(service.CursorUnknown, service.StreamNotFound),
)
async def items(
    at: At,
    stream: Annotated[str | None, Query(max_length=100)] = None,
    group: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> ItemPage:
    knowledge = at.knowledge
    rows = service.items(knowledge, stream, group)
    found, after = service.page(rows, cursor, limit)
    return ItemPage(items=[ItemSummary.of(knowledge, item) for item in found], total=len(rows), next_cursor=after)


@router.get(
    "/items/{item_id}",
    operation_id="getItem",
    response_model=ItemDetail,
    summary="One item with all its data",
    responses=error_responses(service.ItemNotFound),
)
async def item(at: At, item_id: str) -> ItemDetail:
    knowledge = at.knowledge
    return ItemDetail.of(knowledge, service.one(knowledge.items.get(item_id), service.ItemNotFound))


@router.get(
    "/search", operation_id="suggestItems", response_model=list[ItemSummary], summary="Suggestions while a user types"
)
async def search(
    at: At,
    q: Annotated[
        str,
        Query(
            min_length=1,
            max_length=100,
            description="Part of a name, Korean or English. An unfinished syllable (페트벼) and first consonants "
            "(ㅍㅌㅂ) are enough.",
        ),
    ],
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> list[ItemSummary]:
    knowledge = at.knowledge
    return [ItemSummary.of(knowledge, item) for item in service.search(knowledge, q, limit)]


@router.get(
    "/streams",
    operation_id="listStreams",
    response_model=list[DisposalStream],
    summary="The disposal streams",
)
async def streams(at: At) -> list[Stream]:
    return list(at.knowledge.streams.values())


@router.get("/rules", operation_id="listRules", response_model=list[Rule], summary="The rules of all streams")
async def rules(at: At) -> list[Rule]:
    return list(at.knowledge.rules.values())


@router.get(
    "/rules/{stream_id}",
    operation_id="getRule",
    response_model=Rule,
    summary="The rule of one stream",
    responses=error_responses(service.StreamNotFound),
)
async def rule(at: At, stream_id: str) -> Rule:
    return service.one(at.knowledge.rules.get(stream_id), service.StreamNotFound)


@router.get(
    "/situations",
    operation_id="listSituations",
    response_model=list[Situation],
    summary="The conditions that change the advice",
)
async def situations(at: At) -> list[Situation]:
    """In order of precedence: safety first."""
    knowledge = at.knowledge
    return knowledge.by_precedence(list(knowledge.situations.values()))


@router.get(
    "/regions",
    operation_id="listRegions",
    response_model=list[Region],
    summary="The districts with rules of their own",
)
async def regions(at: At) -> list[Region]:
    return service.regions(at.knowledge)


@router.get(
    "/regions/{region_id}",
    operation_id="getRegion",
    response_model=Region,
    summary="The rules of one district",
    responses=error_responses(service.RegionNotFound),
)
async def region(at: At, region_id: str) -> Region:
    return service.one(at.knowledge.regions.get(region_id), service.RegionNotFound)


@router.post(
    "/ask",
    operation_id="askQuestion",
    response_model=Answer,
    response_model_exclude_none=True,
    summary="Ask how to dispose of something",
    responses=error_responses(MissingUser, BadUser, service.TooManyQuestions),
)
async def ask(at: At, body: Question, user: AnyUser) -> Any:
    """Answered item by item, from the rules; other questions are declined. An ambiguous word is answered
    with `clarify` and `candidates`."""
    service.count_question(at.questions, user)
    budget.spender.set(str(user))
    answer = await service.ask(at.knowledge, at.paid, body.question, body.district, body.lang)
    return await service.with_days(at.db, at.knowledge, at.districts, answer, body.question, body.district)
