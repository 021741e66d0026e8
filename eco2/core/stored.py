"""Typed readers of stored JSON.

A form is a dataclass. A field that is new needs a default, which stands for its absence, and a field that is not known
is left out: during a roll-out one release reads what the other wrote.
"""

from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

Form = TypeVar("Form")


class Unreadable(ValueError):
    """A stored document that no release has written. Names the wrong fields, never their values."""


class Reader(Generic[Form]):
    def __init__(self, kind: type[Form]) -> None:
        self._kind, self._adapter = kind, TypeAdapter(kind)

    def loads(self, stored: bytes | str) -> Form:
        try:
            return self._adapter.validate_json(stored)
        except ValidationError as error:
            raise self._unreadable(error) from None

    def read(self, stored: Any) -> Form:
        """From the document as the database gives it, parsed."""
        try:
            return self._adapter.validate_python(stored)
        except ValidationError as error:
            raise self._unreadable(error) from None

    def dumps(self, value: Form) -> str:
        """Without the fields that have their default."""
        return self._adapter.dump_json(value, by_alias=True, exclude_defaults=True).decode()

    def _unreadable(self, error: ValidationError) -> Unreadable:
        wrong = [f"{'.'.join(map(str, one['loc']))} {one['type']}".strip() for one in error.errors(include_input=False)]
        return Unreadable(f"stored {self._kind.__name__}: {', '.join(wrong)}")
