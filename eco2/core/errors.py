"""The one error base of the platform. Every service declares its own errors on top, at the head of its service.py.

An AppError that reaches the HTTP edge is answered as `{"detail": str, "code": str}` with its status
(see `eco2.core.app`). A worker treats it as final for the job: trying again cannot help.
"""

import math
from typing import ClassVar


class AppError(Exception):
    """Base of all expected errors. `message` is shown to the caller: say what to do.

    `english`: the same in English, where `message` is Korean.
    """

    status: ClassVar[int] = 500
    code = "INTERNAL_ERROR"
    english = ""

    def __init__(
        self, message: str = "", *, code: str = "", headers: dict[str, str] | None = None, english: str = ""
    ) -> None:
        self.message = message or (self.__doc__ or self.code).strip()
        self.english = english or self.english or self.message
        self.code = code or self.code
        self.headers = headers
        super().__init__(self.message)


class BadRequest(AppError):
    """The request cannot be understood."""

    status = 400
    code = "BAD_REQUEST"


class Unauthorized(AppError):
    """Sign in first."""

    status = 401
    code = "UNAUTHORIZED"


class NotFound(AppError):
    """There is no such resource, or it is not yours."""

    status = 404
    code = "NOT_FOUND"


class Conflict(AppError):
    """The request conflicts with the state of the resource."""

    status = 409
    code = "CONFLICT"


class TooMany(AppError):
    """요청이 너무 많아요. 잠시 뒤에 다시 해 주세요."""

    status = 429
    code = "TOO_MANY_REQUESTS"

    def __init__(self, message: str = "", *, retry_after: float = 1) -> None:
        """`retry_after`: seconds after which the same request would be taken."""
        super().__init__(message, headers={"Retry-After": str(max(1, math.ceil(retry_after)))})


class Unavailable(AppError):
    """A server we depend on is away; try again."""

    status = 503
    code = "UNAVAILABLE"

    def __init__(self, message: str = "", *, code: str = "", retry_after: int = 2) -> None:
        super().__init__(message, code=code, headers={"Retry-After": str(retry_after)})


AWAY: set[type[Exception]] = {Unavailable, OSError}
"""Errors that mean that a server we depend on does not answer now. The modules of `core` that bring a client
library add its errors, so that a process knows those of the libraries it uses and imports no other."""
