"""The event stream in the API document: sse-gateway serves it without a framework, so its schemas stand here.

tests/contract/test_openapi.py holds them against the frames that the gateway sends.
"""

from typing import Any

import orjson

from eco2.contracts.events import STAGES, Service, Stage, Status

Json = dict[str, Any]

JOB = "0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"
_SPAN = "00f067aa0ba902b7"
_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FRAME: Json = {
    "job_id": JOB,
    "stage": "vision",
    "status": "completed",
    "seq": 4,
    "ts": "1795312800.123",
    "progress": 25,
    "result": "",
    "trace_id": _TRACE,
    "span_id": _SPAN,
    "traceparent": f"00-{_TRACE}-{_SPAN}-01",
    "stream_id": "1795312800123-0",
}
TOKEN: Json = {
    "job_id": JOB,
    "stage": "token",
    "node": "answer",
    "content": "페트병은 ",
    "ts": "1795312801.250",
    "seq": 1001,
    "round": 1,
    "after": 8,
}
RECOVERY: Json = {
    "job_id": JOB,
    "stage": "token_recovery",
    "status": "snapshot",
    "accumulated": "페트병은 라벨을 ",
    "last_seq": 1002,
    "completed": False,
}
KEEPALIVE: Json = {"timestamp": "2026-11-30T08:46:14.123456+00:00"}
ENDED: Json = {"type": "error", "error": "session_ended", "message": "Your session was ended; sign in again."}

_ERRORS = {
    400: ("INVALID_JOB_ID", "A job id has at least 10 characters."),
    401: ("UNAUTHORIZED", "Sign in first."),
    404: ("JOB_NOT_FOUND", "There is no such job, or it is not yours."),
    429: ("TOO_MANY_STREAMS", "You have too many event streams open; close one, or wait for its end."),
    503: ("UNAVAILABLE", "Try again in a moment."),
}


def _stages(service: Service) -> str:
    return ", ".join(stage for stage in Stage if stage in STAGES[service])


_DESCRIPTION = (
    f"Server-sent events. `event:` is the stage (scan: {_stages(Service.SCAN)}; chat: {_stages(Service.CHAT)}), "
    "`id:` the `seq` of the event, and `data:` one JSON object, a `JobEvent`. `done` is the last event and ends the "
    "stream.\n\n"
    "While a chat's answer is written its text comes in pieces: `token` with a `TokenEvent`, to be added to what is "
    "shown. `token_recovery` with a `TokenRecoveryEvent` replaces what is shown: it comes first on a connection opened "
    "in the middle of an answer, after pieces that were lost, and when an answer begins anew. Neither has an "
    "`id:`, and `done` has the whole answer.\n\n"
    "After 15 s of silence comes `keepalive` with a `KeepaliveEvent`, which has no `id:`. A stream that the platform "
    "ends before `done` says so by `error` with a `StreamError`: `session_ended` (sign in again) or `timeout` (connect "
    "again).\n\n"
    "To resume, give the last `id:` as the header `Last-Event-ID`, as an EventSource does by itself, or as "
    "`last_event_id`. Who has the last event already is answered 204, which tells an EventSource to stop.\n\n"
    "An EventSource that reconnects after its access token has run out gets 401 and gives up: refresh the tokens, then "
    "open a new one with `last_event_id`.\n\n"
    "A scan that failed or showed nothing worth a guess ends with `done` of status `completed` too: its "
    "`result.outcome` is `failed` or `unsure`, and `message` is the `error` of the result."
)


def _text(description: str, **more: Any) -> Json:
    return {"type": "string", "description": description, **more}


def schemas() -> dict[str, Json]:
    """Of what stands behind `data:`, by their names in the document."""
    properties: Json = {
        "job_id": _text("The job.", format="uuid"),
        "stage": _text("The stage, as in `event:`.", enum=list(Stage)),
        "status": _text("How far the stage is.", enum=list(Status)),
        "seq": {"type": "integer", "minimum": 1, "description": "Counts the events of a job from 1 without a gap."},
        "ts": _text("Seconds since the epoch, with a fraction, as a string.", pattern=r"^[0-9]+\.[0-9]+$"),
        "progress": {"type": "integer", "minimum": 0, "maximum": 100, "description": "Percent."},
        "result": {
            "description": (
                'An empty string (`""`); in `done` the body of `GET …/result`, with all that a page shows. Only '
                "`disposal_rules`, the texts of the rules, are null (in `others`, too): read them at `result_url`."
            ),
            # The object first: openapi-python-client looks at nothing behind a constant.
            "oneOf": [{"$ref": "#/components/schemas/ScanResult"}, {"type": "string", "const": ""}],
        },
        "message": _text("What to show meanwhile; in `done` of a scan without a result, its `error`."),
        "part": _text("Which of several that the stage has, where it has several."),
        "trace_id": _text("Of the request that began the job; empty outside of a trace."),
        "span_id": _text("As `trace_id`."),
        "traceparent": _text("Both, as W3C Trace Context writes them."),
        "stream_id": _text("Where the event stands in the log of events; for logs only."),
    }
    optional = {"message", "part", "trace_id", "span_id"}
    piece: Json = {
        "job_id": _text("The job.", format="uuid"),
        "stage": {"type": "string", "const": "token"},
        "node": _text("What writes the text."),
        "content": _text("The piece, to be added to what is shown."),
        "ts": _text("As in `JobEvent`.", pattern=r"^[0-9]+\.[0-9]+$"),
        "seq": {"type": "integer", "minimum": 1001, "description": "Counts the pieces from 1001 without a gap."},
        "round": {"type": "integer", "description": "Which attempt to write the text."},
        "after": {"type": "integer", "description": "`seq` of the newest event when the piece was written."},
    }
    so_far: Json = {
        "job_id": _text("The job.", format="uuid"),
        "stage": {"type": "string", "const": "token_recovery"},
        "status": {"type": "string", "const": "snapshot"},
        "accumulated": _text("The text so far, in place of what is shown."),
        "last_seq": {"type": "integer", "description": "`seq` of the newest piece in it."},
        "completed": {"type": "boolean", "const": False},
    }
    return {
        "JobEvent": {
            "type": "object",
            "title": "JobEvent",
            "description": "An event of a job. The types of its fields never change.",
            "properties": properties,
            "required": [name for name in properties if name not in optional],
            "examples": [FRAME],
        },
        "TokenEvent": _object("TokenEvent", piece, TOKEN),
        "TokenRecoveryEvent": _object("TokenRecoveryEvent", so_far, RECOVERY),
        "KeepaliveEvent": {
            "type": "object",
            "title": "KeepaliveEvent",
            "properties": {"timestamp": _text("The time at the gateway.", format="date-time")},
            "required": ["timestamp"],
            "examples": [KEEPALIVE],
        },
        "StreamError": {
            "type": "object",
            "title": "StreamError",
            "properties": {
                "type": {"type": "string", "const": "error"},
                "error": _text("Why the stream ends.", enum=["session_ended", "timeout"]),
                "message": _text("What to do."),
            },
            "required": ["type", "error", "message"],
            "examples": [ENDED],
        },
    }


def _object(title: str, properties: Json, example: Json) -> Json:
    return {
        "type": "object",
        "title": title,
        "properties": properties,
        "required": list(properties),
        "examples": [example],
    }


def paths() -> dict[str, Json]:
    service = _parameter("service", "path", {"type": "string", "enum": ["scan", "chat"]})
    job = {"type": "string", "minLength": 10}
    scan = _parameter("job_id", "query", job, description="The scan.")
    return {
        "/api/v1/{service}/{job_id}/events": {
            "get": _operation("followJob", "Follow a job live", [service, _parameter("job_id", "path", job)])
        },
        "/api/v1/stream": {
            "get": _operation("followJobAtStream", "Follow a scan live, at a former address", [scan]),
        },
    }


def _operation(name: str, summary: str, parameters: list[Json]) -> Json:
    example = "\n".join(
        (
            f"event: vision\nid: 4\ndata: {orjson.dumps(FRAME).decode()}\n",
            f"event: keepalive\ndata: {orjson.dumps(KEEPALIVE).decode()}\n",
            f"event: error\ndata: {orjson.dumps(ENDED).decode()}\n\n",
        )
    )
    resume = [
        _parameter("Last-Event-ID", "header", {"type": "string"}, required=False),
        _parameter(
            "last_event_id",
            "query",
            {"type": "string"},
            required=False,
            description="The same, for a client that cannot set headers.",
        ),
    ]
    stream = {"text/event-stream": {"schema": {"type": "string"}, "example": example}}
    return {
        "tags": ["events"],
        "summary": summary,
        "description": _DESCRIPTION,
        "operationId": name,
        "parameters": [*parameters, *resume],
        "responses": {
            "200": {"description": "The events", "content": stream},
            "204": {"description": "Nothing will follow: `Last-Event-ID` is the last event of the job."},
            **{str(status): _error(code, detail) for status, (code, detail) in _ERRORS.items()},
        },
    }


def _error(code: str, detail: str) -> Json:
    media = {
        "schema": {"$ref": "#/components/schemas/ErrorBody"},
        "examples": {code: {"value": {"detail": detail, "code": code}}},
    }
    return {"description": code, "content": {"application/json": media}}


def _parameter(name: str, place: str, schema: Json, *, required: bool = True, **more: Any) -> Json:
    return {"name": name, "in": place, "required": required, "schema": schema, **more}
