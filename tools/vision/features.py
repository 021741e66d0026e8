"""The network's features of photos and of their variations, kept in a file: the slow part of a training, done once."""

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import gettempdir

import numpy as np
from PIL import Image

from eco2 import knowledge, photos
from eco2.photos import reading
from eco2.scan.vision import network
from eco2.scan.vision.beliefs import ANSWERED, INPUTS, MATERIALS, Floats, Head, Senses
from eco2.scan.vision.embedded import EmbeddedVision
from tools.vision.augment import vary

NOTHING = len(MATERIALS)
"""Label of photos without waste."""
SMALL = {"px32": 32, "px96": 96}
"""Pictures without waste also come small."""
VARIATIONS = 2
LARGEST = 1000
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Photo:
    number: int
    path: Path
    label: int
    kind: str


def empty_head() -> Head:
    """A head that knows nothing: for those who only need features and label masses."""
    weights = np.zeros((INPUTS, NOTHING + 1), np.float32)
    never = dict.fromkeys(ANSWERED, 1.0)
    return Head(weights, weights[0].copy(), 1.0, never, never, 1.0, 1.0, "none")


def list_photos(waste: Path, nothing: Path) -> list[Photo]:
    """`waste` has a folder per material, `nothing` one per kind of picture."""
    found = [(path, MATERIALS.index(name), "waste") for name in MATERIALS for path in _files(waste / name)]
    kinds = sorted(folder for folder in nothing.iterdir() if folder.is_dir())
    found += [(path, NOTHING, folder.name) for folder in kinds for path in _files(folder)]
    return [Photo(number, *row) for number, row in enumerate(found)]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def open_picture(path: Path) -> Image.Image:
    """As the worker opens it where it may (15 MB), and what the worker never gets (large wallpapers) made smaller."""
    data = path.read_bytes()
    if len(data) <= photos.MAX_BYTES:
        return reading.decode(data, network.SIDE)
    with Image.open(path) as image:
        image.thumbnail((LARGEST, LARGEST))
        return image.convert("RGB")


def views(photo: Photo, backgrounds: Sequence[Image.Image]) -> Iterator[tuple[str, Image.Image]]:
    """(name, picture): the photo itself, and what is made of it."""
    rng, image = np.random.default_rng(photo.number), open_picture(photo.path)
    yield "photo", image
    if photo.label != NOTHING:
        yield from (("varied", vary(image, rng, backgrounds)) for _ in range(VARIATIONS))
        return
    for name, side in SMALL.items():
        yield name, image.resize((side, side), Image.Resampling.LANCZOS)
    part = _part(image, rng)
    yield "part", part
    yield "varied", vary(part, rng)


def _part(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    wide, high = (rng.uniform(0.4, 0.9) * side for side in image.size)
    left, top = rng.uniform(0, image.width - wide), rng.uniform(0, image.height - high)
    return image.crop((int(left), int(top), int(left + wide), int(top + high)))


def _extract(part: Sequence[Photo], backgrounds: Sequence[Path]) -> list[tuple[int, int, str, str, Floats]]:
    base = knowledge.load()
    senses = Senses.of(knowledge.default_directory() / "vision", base, empty_head())
    vision = EmbeddedVision(Path(gettempdir()) / f"eco2-vision-{os.getuid()}", senses)
    pictures = []
    for path in backgrounds:
        pictures.append(open_picture(path))
        pictures[-1].thumbnail((LARGEST, LARGEST))
    rows = []
    for photo in part:
        try:
            for name, picture in views(photo, pictures):
                rows.append(
                    (
                        photo.number,
                        photo.label,
                        photo.kind,
                        name,
                        vision.features(reading.square(picture, network.SIDE))[0],
                    )
                )
        except photos.PhotoBroken:
            print(f"left out, unreadable: {photo.path}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("waste", type=Path, help="folder with a folder of photos per material")
    parser.add_argument("nothing", type=Path, help="folder with a folder of photos without waste per kind")
    parser.add_argument("out", type=Path, help="the .npz file to write")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    found = list_photos(given.waste, given.nothing)
    backgrounds = [photo.path for photo in found if photo.kind == "wallpapers"][::2]
    extract = partial(_extract, backgrounds=backgrounds)
    with ProcessPoolExecutor(given.processes) as pool:
        parts = pool.map(extract, [found[n :: given.processes] for n in range(given.processes)])
        rows = sorted((row for part in parts for row in part), key=lambda row: row[0])
    number, label, kind, view, features = zip(*rows, strict=True)
    np.savez(
        given.out,
        number=np.array(number),
        label=np.array(label),
        kind=np.array(kind),
        view=np.array(view),
        features=np.array(features, np.float16),
    )
    print(f"{len(rows)} pictures of {len(found)} photos")


if __name__ == "__main__":
    main()
