"""Reading a CSV file of a public body: its encoding, its rows with their line numbers, and a cut end.

Everything is read in pieces, so that the size of the file does not matter.
"""

import codecs
import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from eco2.core.errors import AppError

PIECE = 1 << 20
LONGEST_RECORD_LINES, LONGEST_RECORD = 500, 1 << 20
"""A record that is longer has a quotation mark that is never closed."""
UTF8, UTF8_BOM, CP949, MIXED = "UTF-8", "UTF-8 with BOM", "CP949", "mixed"
BROKEN_LETTER = "\ufffd"

_OTHER_KINDS = (
    (b"PK\x03\x04", "an Excel or ZIP file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file"),
    (b"%PDF", "a PDF file"),
    (b"\xff\xfe", "a UTF-16 file"),
    (b"\xfe\xff", "a UTF-16 file"),
    (b"<", "an HTML or XML page"),
    (b"{", "a JSON file"),
    (b"[", "a JSON file"),
    (b"\x1f\x8b", "a compressed file"),
)


class FileRefused(AppError):
    """The file cannot be imported; nothing was changed."""

    status = 422
    code = "IMPORT_FILE_REFUSED"


@dataclass
class Encoding:
    """`lines`: how many were read in which encoding, where the file mixes them."""

    name: str
    lines: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        if self.name != MIXED:
            return self.name
        return "mixed: " + ", ".join(f"{count} lines {name}" for name, count in self.lines.most_common())


def encoding_of(path: Path) -> Encoding:
    """By BOM, then UTF-8, then CP949, each for the whole file; else `MIXED`. FileRefused: no CSV file."""
    with path.open("rb") as file:
        start = file.read(4096)
        if not start.strip():
            raise FileRefused(f"{path.name} is empty.")
        for magic, kind in _OTHER_KINDS:
            if start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(magic):
                raise FileRefused(f"{path.name} is {kind}; save it as CSV and import that.")
        if b"\0" in start:
            raise FileRefused(f"{path.name} is a binary file; save it as CSV and import that.")
    if start.startswith(codecs.BOM_UTF8):
        return Encoding(UTF8_BOM if _decodes(path, "utf-8") else MIXED)
    return Encoding(UTF8 if _decodes(path, "utf-8") else CP949 if _decodes(path, "cp949") else MIXED)


def _decodes(path: Path, codec: str) -> bool:
    decoder = codecs.getincrementaldecoder(codec)("strict")
    with path.open("rb") as file:
        try:
            while piece := file.read(PIECE):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Record:
    """`line`: where it begins in the file, counted from 1; the header has a number of its own, too."""

    line: int
    cells: list[str]


class Rows:
    """Header and records of a file. `bytes_read` of `size` tells how far the reading is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.bytes_read = 0
        self.encoding = encoding_of(path)
        self._line = 0
        self._quotes = 0
        self._ended_with_newline = False
        lines = self._lines()
        first = next(lines, "")
        self.delimiter = max(",\t;|", key=first.count) if any(c in first for c in ",\t;|") else ","
        self._reader = csv.reader(self._chain(first, lines), delimiter=self.delimiter)
        csv.field_size_limit(LONGEST_RECORD)
        self.header = [_title(cell) for cell in self._next() or []]
        while self.header and not self.header[-1]:
            self.header.pop()

    def _chain(self, first: str, lines: Iterator[str]) -> Iterator[str]:
        yield first
        yield from lines

    def _lines(self) -> Iterator[str]:
        codec = {UTF8: "utf-8", UTF8_BOM: "utf-8", CP949: "cp949"}.get(self.encoding.name)
        with self.path.open("rb") as file:
            for raw in file:
                self._line += 1
                self.bytes_read += len(raw)
                self._ended_with_newline = raw.endswith((b"\n", b"\r"))
                if self._line == 1:
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                text = raw.decode(codec) if codec else self._either(raw)
                self._quotes += text.count('"')
                yield text.replace("\0", "")

    def _either(self, raw: bytes) -> str:
        """A line of a file that mixes encodings; BROKEN_LETTER where it is in neither."""
        for name, codec in ((UTF8, "utf-8"), (CP949, "cp949")):
            try:
                text = raw.decode(codec)
            except UnicodeDecodeError:
                continue
            if not text.isascii():
                self.encoding.lines[name] += 1
            return text
        self.encoding.lines["unreadable"] += 1
        return raw.decode("utf-8", "replace")

    def _next(self) -> list[str] | None:
        """The next record; FileRefused where a quotation mark is never closed."""
        before, self._quotes = self._line, 0
        try:
            cells = next(self._reader, None)
        except csv.Error as error:
            raise self._cut(before + 1, str(error)) from None
        if self._line - before > LONGEST_RECORD_LINES:
            raise self._cut(before + 1, "a quotation mark is never closed")
        return cells

    def _cut(self, line: int, why: str) -> FileRefused:
        return FileRefused(f"{self.path.name} is damaged or cut: the record at line {line} does not end ({why}).")

    def __iter__(self) -> Iterator[Record]:
        """Records that have any content. FileRefused when the file ends in the middle of one."""
        width = len(self.header)
        while True:
            line = self._line + 1
            cells = self._next()
            if cells is None:
                return
            if self.bytes_read >= self.size:
                self._require_end(line, cells, width)
            if any(cell and not cell.isspace() for cell in cells):
                yield Record(line, cells)

    def _require_end(self, line: int, cells: list[str], width: int) -> None:
        if self._quotes % 2:
            raise self._cut(line, "a quotation mark is never closed")
        if 0 < len(cells) < width and not self._ended_with_newline:
            raise self._cut(line, f"{len(cells)} of {width} columns")


def _title(cell: str) -> str:
    """A column's title as it is compared: full-width signs narrow, no space around."""
    wide = str.maketrans({code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " "})
    return " ".join(cell.translate(wide).replace("\ufeff", "").split())
