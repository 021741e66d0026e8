"""`eco2 vision classify`: the embedded model on files of this machine, without a stack."""

import json
import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import track

from eco2.cli.text import readable

if TYPE_CHECKING:
    from eco2.scan.vision.embedded import Decision, EmbeddedVision

err = Console(stderr=True)

Json = dict[str, Any]

SUFFIXES = {*(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp"), *(".png", ".webp", ".heic", ".heif", ".hif", ".gif")}
"""Names of photos in a folder; one that cannot be read is told."""


def classify(
    paths: list[Path] = typer.Argument(help="Photos, or folders of photos.", metavar="PATH..."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object a line."),
) -> None:
    """Classify photos with the embedded model; no server and no key is needed.

    Exit code 1 when a photo cannot be read; the others are classified.
    """
    files = list(_photos(paths))
    failed = 0
    vision = _model()
    for path in _watched(files):
        row = look(vision, path)
        failed += "error" in row
        typer.echo(json.dumps(row, ensure_ascii=False) if as_json else _line(row))
    if not files:
        err.print("There is no photo in what you named: JPEG, PNG, WebP, HEIC and GIF are read.", highlight=False)
    raise typer.Exit(1 if failed or not files else 0)


def _photos(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are named, so that one that is missing is reported; of folders those that are photos."""
    for path in paths:
        if path.is_dir():
            yield from sorted(one for one in path.rglob("*") if _is_photo(one, path))
        else:
            yield path


def _is_photo(path: Path, folder: Path) -> bool:
    """By name or by content. Hidden files are none: a Mac puts `._photo.jpg` beside each photo, with its attributes."""
    parts = path.relative_to(folder).parts
    if "__MACOSX" in parts or any(part.startswith(".") for part in parts) or not path.is_file():
        return False
    return path.suffix.lower() in SUFFIXES or _begins_like_one(path)


def _begins_like_one(path: Path) -> bool:
    from eco2 import photos

    try:
        with path.open("rb") as file:
            photos.sniff(file.read(64))
    except (OSError, photos.PhotoTypeRefused):
        return False
    return True


def _watched(files: list[Path]) -> Iterable[Path]:
    """With a bar for the person who waits; none where the results are what the terminal shows."""
    bar = sys.stderr.isatty() and not sys.stdout.isatty()
    return track(files, "photos", console=err, disable=not bar, transient=True)


def _model() -> "EmbeddedVision":
    from eco2 import knowledge
    from eco2.local import config
    from eco2.scan.settings import VisionSettings
    from eco2.scan.vision import network
    from eco2.scan.vision.beliefs import Senses
    from eco2.scan.vision.embedded import EmbeddedVision

    settings = VisionSettings()
    data = settings.data_dir or knowledge.default_directory()
    cache = settings.model_dir or config.layout(make=False).folder("models")
    # The build takes 100 MB more than the use: a process of its own gives them back.
    build = multiprocessing.get_context("spawn").Process(target=network.model_path, args=(cache,))
    if not any(cache.glob("*.onnx")):
        build.start()
        build.join()
    return EmbeddedVision(cache, Senses.load(data / "vision", knowledge.load(data)))


def look(vision: "EmbeddedVision", path: Path) -> Json:
    """`{path, category, confidence, candidates, abstained, material, item, waste}`, or `{path, error, code}`."""
    from eco2 import photos
    from eco2.core.errors import AppError
    from eco2.photos import reading
    from eco2.scan.vision import network

    name = readable(path)
    try:
        if path.stat().st_size > photos.MAX_BYTES:
            raise photos.PhotoTooLarge
        _, clean = reading.inspect(path.read_bytes())
        told = vision.tell(reading.square(reading.decode(clean, network.SIDE), network.SIDE))
    except AppError as error:
        return {"path": name, "error": error.message, "code": error.code}
    except OSError as error:
        return {"path": name, "error": f"파일을 읽을 수 없어요: {error.strerror}", "code": "FILE_UNREADABLE"}
    return {"path": name, **_row(told)}


def _row(told: "Decision") -> Json:
    return {
        "category": told.category,
        "confidence": told.confidence,
        "candidates": [{"category": category, "confidence": share} for category, share in told.candidates],
        "abstained": told.abstained,
        "material": told.material,
        "item": told.result.item_id,
        "waste": told.result.waste,
    }


def _line(row: Json) -> str:
    if "error" in row:
        return f"{row['path']}: {row['error']}"
    if not row["waste"]:
        return f"{row['path']}: 쓰레기가 보이지 않아요 ({row['confidence']:.0%})"
    if row["abstained"]:
        likely = ", ".join(f"{one['category']} {one['confidence']:.0%}" for one in row["candidates"])
        return f"{row['path']}: ? {likely}"
    return f"{row['path']}: {row['category']} {row['confidence']:.0%}"
