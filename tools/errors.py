"""Writes docs/api/errors.md from the API document: every code that a client may meet. `python -m tools.errors FILE`."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools import openapi

_HEAD = """# Errors of the API

Every refusal is JSON: `{"detail": "what to do, for people", "code": "CODE"}`; `VALIDATION_ERROR` adds `errors`, one row
for each field. Decide by `code`, show `detail`. What is for the user to read is Korean where the user has not chosen
English; what only a developer can mend is English.

| status | what an app does |
|---|---|
| 400, 415, 422 | mends the request; the same one is refused again |
| 401 | renews the tokens (`refreshTokens`), tries once more, else signs in |
| 403 | signs in: the session was ended, and 403 means nothing else |
| 404 | treats the thing as gone; what belongs to another user is 404, too |
| 405 | reads the `Allow` header |
| 409 | asks anew how the thing stands |
| 413 | sends less |
| 429, 503 | tries again after `Retry-After` seconds, with the same `X-Idempotency-Key` where it sent one |
| 500 | tells the user; a second try may help |

The table is written by `make openapi` from what the operations declare. Any operation may also answer 500
`INTERNAL_ERROR`, 503 `UNAVAILABLE`, 404 `NOT_FOUND` and 405 `METHOD_NOT_ALLOWED`.

| code | status | detail, as it stands for developers or in Korean for users | operations |
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
