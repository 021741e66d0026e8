"""A stand-in for the village forecast of the KMA on loopback: made-up weather by square and hour, as slow or faulty as
told.

    python -m eco2.local.emulators.kma --port 10022

`POST /_control` takes a `Behaviour` and replaces what was set; `GET /_calls` tells the requests. The key in
`serviceKey` has to be KEY. The local stack runs it, unless a real key is given.
"""

import asyncio
import zlib
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from eco2.local import config
from eco2.local.config import Layout
from eco2.local.emulators import running
from eco2.local.supervisor import Unit

NAME = "kma-emulator"
KEY = config.EMULATED_KMA_KEY
HOURS = 75
Json = dict[str, Any]
Fault = Literal["error", "limit", "quota", "refuse", "garbage", "odd", "empty", "hang", "huge"]
"""`limit`: 429. `quota`, `refuse`: what its gateway says in XML with status 200. `odd`: JSON of another form."""

_GATEWAY = (
    "<OpenAPI_ServiceResponse><cmmMsgHeader><errMsg>SERVICE ERROR</errMsg><returnAuthMsg>{message}</returnAuthMsg>"
    "<returnReasonCode>{code}</returnReasonCode></cmmMsgHeader></OpenAPI_ServiceResponse>"
)


class Behaviour(BaseModel):
    """`seconds`: how long an answer takes. `times`: how many answers have the fault, all without it. `falls`: from
    which hour of each day it rains."""

    model_config = ConfigDict(extra="forbid")

    fault: Fault | None = None
    seconds: float = Field(default=0, ge=0)
    times: int | None = None
    falls: int | None = Field(default=None, ge=0, le=23)


def _rows(base: datetime, x: int, y: int, falls: int | None) -> list[Json]:
    seed = zlib.crc32(f"{x}:{y}".encode())
    found = []
    for ahead in range(1, HOURS + 1):
        at = base + timedelta(hours=ahead)
        wet = falls is not None and at.hour >= falls
        values = {
            "TMP": str(5 + seed % 10 - abs(14 - at.hour) // 2),
            "SKY": "4" if wet else ("1", "3", "4")[(seed + at.day) % 3],
            "PTY": "1" if wet else "0",
            "POP": "80" if wet else str(seed % 4 * 10),
            "WSD": "2.1",
            "PCP": "강수없음",
        }
        for category, value in values.items():
            found.append(
                {
                    "baseDate": f"{base:%Y%m%d}",
                    "baseTime": f"{base:%H%M}",
                    "category": category,
                    "fcstDate": f"{at:%Y%m%d}",
                    "fcstTime": f"{at:%H%M}",
                    "fcstValue": value,
                    "nx": x,
                    "ny": y,
                }
            )
    return found


def _answer(code: str, message: str, rows: list[Json]) -> Response:
    body = {"dataType": "JSON", "items": {"item": rows}, "pageNo": 1, "numOfRows": 1000, "totalCount": len(rows)}
    return JSONResponse({"response": {"header": {"resultCode": code, "resultMsg": message}, "body": body}})


class Emulator:
    def __init__(self) -> None:
        self._behaviour = Behaviour()
        self._asked: list[Json] = []

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/getVilageFcst", self._forecast),
                Route("/_control", self._control, methods=["POST"]),
                Route("/_calls", self._report),
                Route("/ready", self._ready),
            ]
        )

    async def _ready(self, _request: Request) -> Response:
        return JSONResponse({"status": "ready"})

    async def _report(self, _request: Request) -> Response:
        return JSONResponse({"calls": len(self._asked), "asked": self._asked[-100:]})

    async def _control(self, request: Request) -> Response:
        try:
            self._behaviour = Behaviour.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"detail": str(error)}, 422)
        self._asked.clear()
        return JSONResponse(self._behaviour.model_dump())

    def _fault(self) -> Fault | None:
        behaviour = self._behaviour
        if behaviour.fault is None or behaviour.times == 0:
            return None
        if behaviour.times is not None:
            behaviour.times -= 1
        return behaviour.fault

    async def _forecast(self, request: Request) -> Response:
        asked = {name: value for name, value in request.query_params.items() if name != "serviceKey"}
        self._asked.append(asked)
        if request.query_params.get("serviceKey") != KEY:
            return PlainTextResponse(_GATEWAY.format(message="SERVICE_KEY_IS_NOT_REGISTERED_ERROR", code="30"))
        fault = self._fault()
        await asyncio.sleep(self._behaviour.seconds)
        if fault is not None:
            return await self._faulty(fault)
        try:
            base = datetime.strptime(f"{asked['base_date']}{asked['base_time']}", "%Y%m%d%H%M")  # noqa: DTZ007 - of Korea, as the answer
            x, y = int(asked["nx"]), int(asked["ny"])
        except (LookupError, ValueError):
            return _answer("10", "INVALID_REQUEST_PARAMETER_ERROR", [])
        return _answer("00", "NORMAL_SERVICE", _rows(base, x, y, self._behaviour.falls))

    async def _faulty(self, fault: Fault) -> Response:
        if fault == "limit":
            return JSONResponse({"message": "too many requests"}, 429, headers={"Retry-After": "1"})
        if fault == "quota":
            message = "LIMITED_NUMBER_OF_SERVICE_REQUESTS_EXCEEDS_ERROR"
            return PlainTextResponse(_GATEWAY.format(message=message, code="22"))
        if fault == "refuse":
            return PlainTextResponse(_GATEWAY.format(message="SERVICE_KEY_IS_NOT_REGISTERED_ERROR", code="30"))
        if fault == "garbage":
            return PlainTextResponse("<html>not json")
        if fault == "odd":
            rows: list[Any] = [{"category": "TMP", "fcstDate": "soon", "fcstTime": "1", "fcstValue": "nan"}, 5]
            return _answer("00", "NORMAL_SERVICE", rows)
        if fault == "empty":
            return _answer("03", "NO_DATA", [])
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "huge":
            return StreamingResponse((b" " * 65_536 for _ in range(160)), media_type="application/json")
        return JSONResponse({"message": "internal"}, 500)


def unit(at: Layout) -> Unit:
    """For the local supervisor."""
    return running.unit(at, NAME, __name__, config.KMA_EMULATOR)


def main() -> None:
    given = running.parser("kma", "Emulated forecasts.").parse_args()
    running.serve(Emulator().app(), given.port)


if __name__ == "__main__":
    main()
