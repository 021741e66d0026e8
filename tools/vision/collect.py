"""Photos without waste, from Debian packages: wallpapers, and the pictures of two programs for children.

They are unpacked, not installed, and none of them is ours to give on: they stay in the folder that you name. The
archives of GCompris hold their pictures as they are, one after the other, so they are found by their first bytes.
"""

import argparse
import io
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

WALLPAPERS = (
    "plasma-workspace-wallpapers",
    "gnome-backgrounds",
    "mate-backgrounds",
    "ukui-wallpapers",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
)
GCOMPRIS = {  # archive: kind
    "erase": "animals",
    "explore_world_animals": "animals",
    "explore_farm_animals": "animals",
    "explore_monuments": "places",
    "explore_world_music": "places",
    "paintings": "paintings",
    "lang": "drawings",
}
STAMPS = {  # folder of tuxpaint-stamps-default: kind
    "animals": "animals",
    "plants": "plants",
    "naturalforces": "plants",
    "food": "food",
    "people": "people",
    "space": "space",
    "vehicles": "vehicles",
    "town": "places",
}
SMALLEST = 150
_START = {"webp": re.compile(rb"RIFF....WEBP", re.S), "jpg": re.compile(rb"\xff\xd8\xff[\xe0\xe1\xdb]")}


def unpack(package: str, folder: Path) -> Path:
    out = folder / package
    subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob(f"{package}_*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, out], check=True)
    return out


def carve(content: bytes) -> Iterator[Image.Image]:
    for pattern in _START.values():
        for found in pattern.finditer(content):
            try:
                image = Image.open(io.BytesIO(content[found.start() :]))
                image.load()
            except (OSError, ValueError, SyntaxError):
                continue
            if min(image.size) >= SMALLEST:
                yield image.convert("RGB")


def keep(image: Image.Image, folder: Path, name: str) -> None:
    """With what is transparent in white."""
    folder.mkdir(parents=True, exist_ok=True)
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    Image.alpha_composite(white, image).convert("RGB").save(folder / f"{name}.png")


def wallpapers(package: Path) -> Iterator[Path]:
    """The largest of each folder, which holds one picture in many sizes, or many pictures."""
    found = [path for path in sorted(package.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
    sizes = re.compile(r"\d{3,4}x\d{3,4}$")
    yield from {path.parent if sizes.fullmatch(path.stem) else path: path for path in found}.values()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    with TemporaryDirectory() as scratch:
        for name in WALLPAPERS:
            for n, path in enumerate(wallpapers(unpack(name, Path(scratch)))):
                with Image.open(path) as paper:
                    paper.thumbnail((1000, 1000))
                    keep(paper, out / "wallpapers", f"{name}-{n}")
        for path in sorted(unpack("gcompris-qt-data", Path(scratch)).rglob("*.rcc")):
            if path.stem in GCOMPRIS:
                for n, image in enumerate(carve(path.read_bytes())):
                    keep(image, out / GCOMPRIS[path.stem], f"gcompris-{path.stem}-{n}")
        stamps = unpack("tuxpaint-stamps-default", Path(scratch)) / "usr/share/tuxpaint/stamps"
        for path in sorted(stamps.rglob("*.png")):
            kind = STAMPS.get(path.relative_to(stamps).parts[0])
            if kind is not None and "toys" not in path.parts and not path.stem.endswith("_mirror"):
                with Image.open(path) as stamp:
                    name = "-".join(path.relative_to(stamps).with_suffix("").parts)
                    keep(stamp, out / ("drawings" if "cartoon" in path.parts else kind), f"stamp-{name}")


if __name__ == "__main__":
    main()
