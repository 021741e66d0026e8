"""A stand-in for Kakao Local on loopback: made-up places by keyword, as slow or faulty as told.

    python -m eco2.local.emulators.kakao --port 10023

`POST /_control` takes a `Behaviour` and replaces what was set; `GET /_calls` counts the requests. The key in
`Authorization` has to be `KakaoAK KEY`. It is for the tests, and for trying `ECO2_KAKAO_LOCAL_URL` by hand.
"""

import asyncio
import zlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from eco2.local.config import Layout
from eco2.local.emulators import running
from eco2.local.supervisor import Unit

NAME = "kakao-emulator"
KEY = "emulated-kakao-key"
PORT_OFFSET = 23
Json = dict[str, Any]
Fault = Literal["error", "limit", "refuse", "garbage", "odd", "hang", "huge", "endless", "redirect"]
"""`limit`: 429 with Retry-After. `refuse`: 401. `odd`: JSON of another form. `huge`: 10 MB. `endless`: never stops."""


class Behaviour(BaseModel):
    """`seconds`: how long an answer takes. `times`: how many answers have the fault, all without it."""

    model_config = ConfigDict(extra="forbid")

    fault: Fault | None = None
    seconds: float = Field(default=0, ge=0)
    times: int | None = None
    count: int = Field(default=3, ge=0, le=15)
    """Places of an answer."""


def _document(query: str, number: int, x: str | None, y: str | None) -> Json:
    digest = zlib.crc32(f"{query}:{number}".encode())
    lat = float(y) if y else 37.5 + digest % 1000 / 10_000
    lon = float(x) if x else 127.0 + digest // 1000 % 1000 / 10_000
    return {
        "id": str(10_000_000 + digest % 90_000_000),
        "place_name": f"{query} {number + 1}호점",
        "category_name": "가정,생활 > 생활용품점 > 제로웨이스트",
        "category_group_code": "",
        "category_group_name": "",
        "phone": f"02-555-{number:04d}",
        "address_name": "서울 마포구 망원동 1-1",
        "road_address_name": f"서울 마포구 월드컵로 {number + 1}",
        "x": f"{lon + number * 0.001:.6f}",
        "y": f"{lat + number * 0.001:.6f}",
        "place_url": f"http://place.map.kakao.com/{10_000_000 + digest % 90_000_000}",
        "distance": "",
    }


class Emulator:
    def __init__(self) -> None:
        self._behaviour = Behaviour()
        self._calls = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v2/local/search/keyword.json", self._search),
                Route("/_control", self._control, methods=["POST"]),
                Route("/_calls", self._report),
                Route("/ready", self._ready),
            ]
        )

    async def _ready(self, _request: Request) -> Response:
        return JSONResponse({"status": "ready"})

    async def _report(self, _request: Request) -> Response:
        return JSONResponse({"calls": self._calls})

    async def _control(self, request: Request) -> Response:
        try:
            self._behaviour = Behaviour.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"detail": str(error)}, 422)
        self._calls = 0
        return JSONResponse(self._behaviour.model_dump())

    def _fault(self) -> Fault | None:
        behaviour = self._behaviour
        if behaviour.fault is None or behaviour.times == 0:
            return None
        if behaviour.times is not None:
            behaviour.times -= 1
        return behaviour.fault

    async def _search(self, request: Request) -> Response:
        self._calls += 1
        if request.headers.get("authorization") != f"KakaoAK {KEY}":
            return JSONResponse({"errorType": "AccessDeniedError", "message": "wrong appKey"}, 401)
        fault = self._fault()
        await asyncio.sleep(self._behaviour.seconds)
        if fault is not None:
            return await self._faulty(fault)
        query, x, y = (request.query_params.get(name) for name in ("query", "x", "y"))
        if not query:
            return JSONResponse({"errorType": "MissingParameter", "message": "query parameter required"}, 400)
        documents = [_document(query, number, x, y) for number in range(self._behaviour.count)]
        meta = {"total_count": len(documents), "pageable_count": len(documents), "is_end": True, "same_name": None}
        return JSONResponse({"documents": documents, "meta": meta})

    async def _faulty(self, fault: Fault) -> Response:
        if fault == "limit":
            body = {"errorType": "RequestThrottled", "message": "API limit has been exceeded."}
            return JSONResponse(body, 429, headers={"Retry-After": "1"})
        if fault == "refuse":
            return JSONResponse({"errorType": "AccessDeniedError", "message": "ip mismatched"}, 401)
        if fault == "garbage":
            return PlainTextResponse("<html>not json")
        if fault == "odd":
            rows = [None, {"id": "x"}, {"id": 5, "place_name": ["list"], "x": "nan", "y": "inf"}]
            return JSONResponse({"documents": rows, "meta": "?"})
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault in ("huge", "endless"):
            return StreamingResponse(_letters(160 if fault == "huge" else None), media_type="application/json")
        if fault == "redirect":
            return RedirectResponse("http://127.0.0.1:1/", 302)
        return JSONResponse({"message": "internal"}, 500)


async def _letters(pieces: int | None) -> Any:
    number = 0
    while pieces is None or number < pieces:
        number += 1
        yield b" " * 65_536
        await asyncio.sleep(0)


def unit(at: Layout) -> Unit:
    """For the local supervisor."""
    return running.unit(at, NAME, __name__, PORT_OFFSET)


def base_url(at: Layout) -> str:
    """Value of ECO2_KAKAO_LOCAL_URL for it."""
    return f"http://127.0.0.1:{at.port(PORT_OFFSET)}"


def main() -> None:
    given = running.parser("kakao", "Emulated Kakao Local.").parse_args()
    running.serve(Emulator().app(), given.port)


if __name__ == "__main__":
    main()
