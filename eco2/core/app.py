"""The HTTP app factory: one error shape, request ids, access log, metrics, traces, identity, ops pages.

Every error body is `{"detail": str, "code": str}`; validation errors add `errors`.
"""

import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from opentelemetry.trace import Span, SpanKind
from prometheus_client import Histogram
from pydantic import AfterValidator, BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse

from eco2.contracts.identity import GUEST, STEWARDS, USER_ID_HEADER
from eco2.core import proof, telemetry
from eco2.core.errors import AWAY, AppError, Conflict, Unauthorized, Unavailable
from eco2.core.ops import AsgiApp, Check, OpsApp, Receive, Scope, Send, send_body
from eco2.core.settings import AppSettings
from eco2.core.short_cuts import ShortCut, taken
from eco2.core.storable import storable

log = logging.getLogger("eco2.access")

REQUEST_SECONDS = Histogram(
    "eco2_http_request_seconds",
    "Time to answer an HTTP request",
    ["service", "method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods with time series of their own: a client may make up as many others as it likes."""


S = TypeVar("S")


@dataclass(frozen=True)
class Resources(Generic[S]):
    """Resources that a service keeps open: `services` for its handlers, and the checks of its readiness."""

    services: S
    checks: Mapping[str, Check]


Open = Callable[[], AbstractAsyncContextManager[Resources[S]]]


def services_of(request: Request, kind: type[S]) -> S:
    """Services that `create_app` opened, for code that no dependency reaches."""
    found = request.app.state.services
    assert isinstance(found, kind), f"the process opens {type(found).__name__}, not {kind.__name__}"
    return found


def opened(kind: type[S]) -> Any:
    """Dependency of a handler on its services: `At = Annotated[Services, opened(Services)]`."""

    async def find(request: Request) -> S:
        return services_of(request, kind)

    return Depends(find)


class ErrorBody(BaseModel):
    """Body of every error answer."""

    detail: str
    code: str


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character NUL")
    return text


Text = Annotated[str, AfterValidator(_no_nul)]
"""Text of a client that goes into the database, which cannot store NUL."""

EXPOSED_HEADERS = ("X-Request-Id", "Retry-After", "X-Next-Cursor", "ETag", "Content-Disposition", "Allow")
"""Headers of answers that a page of another origin may read, besides those that browsers always show."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class FieldError(BaseModel):
    field: str
    message: str


class ValidationErrorBody(ErrorBody):
    """Body of a 422 for a request that has the wrong form."""

    errors: list[FieldError]


def error_responses(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` of a route, with one example per error."""
    found: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        example = {"value": {"detail": error().message, "code": error.code}}
        row = found.setdefault(
            error.status,
            {"model": ErrorBody, "description": "", "content": {"application/json": {"examples": {}}}},
        )
        row["content"]["application/json"]["examples"][error.code] = example
        row["description"] = ", ".join(row["content"]["application/json"]["examples"])
    return found


class MissingUser(Unauthorized):
    """Sign in first."""

    code = "MISSING_USER_ID"


class BadUser(Unauthorized):
    """The user id is not a UUID."""

    code = "INVALID_USER_ID_FORMAT"


async def _user_id(x_user_id: Annotated[str | None, Header(include_in_schema=False)] = None) -> uuid.UUID:
    if not x_user_id:
        raise MissingUser
    try:
        return uuid.UUID(x_user_id)
    except ValueError:
        raise BadUser from None


class GuestNotAllowed(Conflict):
    """Sign in for this: guests look things up, scan and ask."""

    code = "GUEST_NOT_ALLOWED"


def _is_guest(x_user_role: Annotated[str | None, Header(include_in_schema=False)] = None) -> bool:
    return x_user_role == GUEST


IsGuest = Annotated[bool, Depends(_is_guest)]

AnyUser = Annotated[uuid.UUID, Depends(_user_id)]
"""The user, guests included, as ext-authz wrote it into the identity header."""

any_user = Depends(_user_id)
"""For routes that need a user, guests included, but not who it is."""


def _member_id(user: AnyUser, guest: IsGuest) -> uuid.UUID:
    if guest:
        raise GuestNotAllowed
    return user


User = Annotated[uuid.UUID, Depends(_member_id)]
"""The signed-in user; guests are refused. A route that guests may use says so by `AnyUser`."""


class StewardsOnly(Conflict):
    """This is for stewards. An operator grants the role by `eco2 auth role grant`."""

    code = "STEWARDS_ONLY"


def _steward_id(user: User, x_user_role: Annotated[str | None, Header(include_in_schema=False)] = None) -> uuid.UUID:
    if x_user_role not in STEWARDS:
        raise StewardsOnly
    return user


Steward = Annotated[uuid.UUID, Depends(_steward_id)]
"""The signed-in user, who is a steward or an operator."""

a_steward = Depends(_steward_id)
"""For routes that are for stewards, but not who it is."""

STEWARD_ERRORS = (MissingUser, BadUser, GuestNotAllowed, StewardsOnly)


def guests_may(route: APIRoute) -> bool:
    """True if guests may use the route, as they may those without a user."""
    return not any(found.call is _member_id for found in _dependencies(route.dependant))


def needs_user(route: APIRoute) -> bool:
    return any(found.call is _user_id for found in _dependencies(route.dependant))


def _dependencies(dependant: Dependant) -> Iterator[Dependant]:
    for found in dependant.dependencies:
        yield found
        yield from _dependencies(found)


_PLAIN = re.compile(rb"[A-Za-z0-9_.,=&-]+")


@dataclass(frozen=True)
class Asked:
    """A request as a `Shortcut` gets it. `rest`: what stands in the path for the parameter of the route."""

    user: uuid.UUID
    rest: str
    query: bytes

    def values(self) -> dict[str, str]:
        """Values of the query by name. ValueError where it is not plain: escapes besides commas, a name twice."""
        text = self.query.replace(b"%2C", b",")
        if not _PLAIN.fullmatch(text):
            raise ValueError("not plain")
        pairs = [pair.partition("=") for pair in text.decode().split("&")]
        found = {name: value for name, _, value in pairs}
        if len(found) < len(pairs):
            raise ValueError("a name twice")
        return found


@dataclass(frozen=True)
class Shortcut:
    """A GET that is asked so often that the framework would cost more than the answer.

    `route` is that of the router, which documents it and answers whatever is not plainly good: an error of `answer`
    sends the request there. It has one parameter at the end of its path, or none.
    """

    name: ShortCut
    route: str
    answer: Callable[[Any, Asked], Awaitable[bytes]]

    def rest(self, path: str) -> str | None:
        """The end of the path, in place of the parameter; None for the path of another route."""
        before, parameter, _ = self.route.partition("{")
        fits = path.startswith(before) if parameter else path == before
        return path[len(before) :] if fits else None


def create_app(
    name: str,
    settings: AppSettings,
    open_resources: Open[S],
    *routers: APIRouter,
    shortcuts: Sequence[Shortcut] = (),
) -> OpsApp:
    """The ASGI app of one HTTP service.

    `open_resources` is entered at start and left after the last request; handlers get its services by
    `opened`.
    """

    checks: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources() as resources:
            app.state.services = resources.services
            checks.update(resources.checks)
            yield

    app = api_app(name, *routers, lifespan=lifespan)
    short = [one for one in shortcuts if taken(one.name)]
    inner: AsgiApp = _Shortcuts(app, short) if short else app
    if settings.cors_origins:
        inner = CORSMiddleware(
            inner,
            allow_origins=settings.cors_origins,
            allow_credentials=True,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Content-Type", "X-Frontend-Origin", "X-Idempotency-Key"],
            expose_headers=EXPOSED_HEADERS,
        )
    checks["started"] = _started(app)
    return OpsApp(name, checks, RequestEdge(name, inner, settings.service_secret))


class _Shortcuts:
    def __init__(self, app: FastAPI, shortcuts: Sequence[Shortcut]) -> None:
        self._app = app
        self._shortcuts = shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            for shortcut in self._shortcuts:
                rest = shortcut.rest(scope["path"])
                if rest is not None and await self._answered(shortcut, rest, scope, receive, send):
                    return
        await self._app(scope, receive, send)

    async def _answered(self, shortcut: Shortcut, rest: str, scope: Scope, receive: Receive, send: Send) -> bool:
        """False sends the request the long way."""
        try:
            user = next(uuid.UUID(value.decode()) for name, value in scope["headers"] if name == _USER_ID)
            body = await shortcut.answer(self._app.state.services, Asked(user, rest, scope["query_string"]))
        except (AppError, ValueError, StopIteration):
            return False
        except tuple(AWAY) as error:  # the long way would wait for the same server once more
            scope["shortcut"] = shortcut.route
            await (await _server_away(Request(scope), error))(scope, receive, send)
            return True
        except Exception:  # the long way answers in its own form, or tells the error as every other
            log.exception("a short cut failed", extra={"path": scope["path"]})
            return False
        scope["shortcut"] = shortcut.route
        await send_body(send, body)
        return True


_USER_ID = USER_ID_HEADER.encode()


def api_app(name: str, *routers: APIRouter, lifespan: Any = None) -> FastAPI:
    """The routes of a service and their errors, without servers behind them: enough to write its OpenAPI."""
    app = FastAPI(
        title=name,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # RequestEdge does it, errors included
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(storable)],
    )
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    for error in AWAY - {Unavailable, OSError}:
        app.add_exception_handler(error, _server_away)
    app.add_exception_handler(Exception, _unexpected)
    return app


def _started(app: FastAPI) -> Check:
    async def started() -> None:
        if not hasattr(app.state, "services"):
            raise RuntimeError("still starting")

    return started


async def _app_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AppError)
    return JSONResponse({"detail": error.message, "code": error.code}, error.status, headers=error.headers)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        error.headers = {**(error.headers or {}), "Allow": ", ".join(_methods(request))}
    codes = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
    body = {"detail": error.detail, "code": codes.get(error.status_code, "BAD_REQUEST")}
    return JSONResponse(body, error.status_code, headers=error.headers)


def _methods(request: Request) -> list[str]:
    """The methods of the path: the framework names those of the first route only that has it."""
    path = request.scope["path"]
    routes: list[APIRoute] = request.app.state.routes
    return sorted({method for route in routes if route.path_regex.match(path) for method in route.methods or ()})


async def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [{"field": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
    if any(e["type"] == "json_invalid" or e["loc"] == ("body",) for e in error.errors()):
        errors = [{"field": "body", "message": "send a JSON object with Content-Type: application/json"}]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
    return JSONResponse({"detail": detail, "code": "VALIDATION_ERROR", "errors": errors}, 422)


async def _server_away(request: Request, error: Exception) -> JSONResponse:
    log.warning("a server is away: %s", str(error).partition("\n")[0])
    return await _app_error(request, Unavailable("A server we depend on is away; try again in a moment."))


async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    body = {"detail": "Something went wrong on our side; try again.", "code": "INTERNAL_ERROR"}
    return JSONResponse(body, 500)


_KEEP_NOTHING = (b"cache-control", b"no-store")
"""An answer to a user may be personal: no cache on the way and no browser keeps it, unless the route says so."""


def _says_what_to_keep(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"cache-control" for name, _ in headers)


class RequestEdge:
    """Outermost ASGI layer: identity only with a proof, request id, nothing kept, trace, access log, metrics."""

    def __init__(self, service: str, app: AsgiApp, service_secret: str | None) -> None:
        self.service = service
        self.app = app
        self.service_secret = service_secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.service_secret is not None:
            scope["headers"] = proof.without_unproven_identity(self.service_secret, scope["headers"])
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        given = headers.get("x-request-id", "")
        telemetry.request_id.set(given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex)
        telemetry.user_id.set(headers.get(USER_ID_HEADER, ""))
        with telemetry.span(scope["method"], headers, SpanKind.SERVER) as span:
            await self._handle(scope, receive, send, headers.get(USER_ID_HEADER, ""), span)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, user: str, span: Span) -> None:
        status, start = 0, time.perf_counter()

        async def watch(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", telemetry.request_id.get().encode("latin-1")),
                    *(() if not user or _says_what_to_keep(message["headers"]) else (_KEEP_NOTHING,)),
                ]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception:
            log.exception("unhandled error", extra={"path": scope["path"]})  # answered by _unexpected
        self._record(scope, status or 499, time.perf_counter() - start, user, span)

    def _record(self, scope: Scope, status: int, seconds: float, user: str, span: Span) -> None:
        shortcut = scope.get("shortcut")
        route = shortcut or getattr(scope.get("route"), "path", "unknown")
        if span.is_recording():  # named by its route, which was not known before; a path holds ids
            span.update_name(f"{scope['method']} {route}")
            span.set_attributes({"http.route": route, "url.path": scope["path"], "http.response.status_code": status})
        method = scope["method"] if scope["method"] in METHODS else "other"
        REQUEST_SECONDS.labels(self.service, method, route, status).observe(seconds, telemetry.exemplar())
        level = logging.DEBUG if shortcut else logging.INFO  # too frequent to be read
        if log.isEnabledFor(level):
            extra = {"method": scope["method"], "path": scope["path"], "status": status, "user": user}
            log.log(level, "request", extra={**extra, "ms": round(seconds * 1000, 1)})
