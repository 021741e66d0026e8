"""Writes docs/api/errors.md from the API document: every code that a client may meet. `python -m tools.errors FILE`."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools import openapi

_HEAD = """# Errors of the API

Every error is JSON: `{"detail": "what to do, for people", "code": "CODE"}`; `VALIDATION_ERROR` adds `errors`, one row
for each field. Decide by `code`, show `detail`. Messages for users are Korean unless the user has chosen
English; messages for developers are English.

| status | the app |
|---|---|
| 400, 415, 422 | corrects the request; repeating it fails again |
| 401 | renews the tokens (`refreshTokens`) and tries once more, then signs in |
| 403 | signs in: the session has ended (no other meaning) |
| 404 | treats the resource as gone; another user's resource is also 404 |
| 405 | reads the `Allow` header |
| 409 | reads the current state again |
| 413 | sends less |
| 429, 503 | tries again after `Retry-After` seconds, with the same `X-Idempotency-Key` if it sent one |
| 500 | shows the error; a second attempt may help |

`make openapi` writes the table from the declarations of the operations. Any operation may also answer 500
`INTERNAL_ERROR`, 503 `UNAVAILABLE`, 404 `NOT_FOUND` and 405 `METHOD_NOT_ALLOWED`.

| code | status | detail, for developers in English or for users in Korean | operations |
|---|---|---|---|
"""
_MANY = 6


class Refusal(NamedTuple):
    code: str
    status: str
    detail: str


def refusals() -> dict[Refusal, set[str]]:
    """Each refusal of the document → ids of the operations that answer it."""
    found: dict[Refusal, set[str]] = defaultdict(set)
    for methods in openapi.document()["paths"].values():
        for operation in methods.values():
            for refusal in _of(operation["responses"]):
                found[refusal].add(operation["operationId"])
    return found


def _of(responses: openapi.Json) -> Iterator[Refusal]:
    for status, response in responses.items():
        media = response.get("content", {}).get("application/json", {})
        shown = (
            [media["example"]]
            if "example" in media
            else [one["value"] for one in media.get("examples", {}).values() if "value" in one]
        )
        for example in shown if status >= "400" else ():
            yield Refusal(example["code"], status, " ".join(example["detail"].split()))


def render() -> str:
    rows = []
    for (code, status, detail), operations in sorted(refusals().items()):
        names = sorted(operations)
        where = ", ".join(names[:_MANY]) + (f" and {len(names) - _MANY} others" if len(names) > _MANY else "")
        rows.append(f"| `{code}` | {status} | {detail} | {where} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render())
