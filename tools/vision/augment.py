"""Harsh variations of photos: other backgrounds, light, focus, sizes and cameras than those of the training photos.

The training photos show one thing on a white board. What is learnt from them has to hold on a kitchen table, so the
board is replaced, and the photo is turned, cut, blurred, tinted, shrunk and saved again.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

Rng = np.random.Generator
Floats = npt.NDArray[Any]

SIDE = 224
"""Side of the square that variations are made in."""


def vary(image: Image.Image, rng: Rng, backgrounds: Sequence[Image.Image] = ()) -> Image.Image:
    """One variation. With `backgrounds`, half of the time the white board gives way to one of them or to a made one."""
    square = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if backgrounds and rng.random() < 0.55:
        square = _on(square, _background(rng, backgrounds), rng)
    for step in (_turn, _cut, _light, _focus, _shrink, _save):
        square = step(square, rng)
    return square


def _turn(image: Image.Image, rng: Rng) -> Image.Image:
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    quarter = [None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270]
    if (turn := quarter[rng.integers(4)]) is not None:
        image = image.transpose(turn)
    if rng.random() < 0.5:
        edge = np.asarray(image)[:8].reshape(-1, 3).mean(0)
        fill = tuple(int(value) for value in edge)
        image = image.rotate(rng.uniform(-35, 35), Image.Resampling.BILINEAR, fillcolor=fill)
    return image


def _cut(image: Image.Image, rng: Rng) -> Image.Image:
    """A part of the photo, seldom smaller than half of its area, with another aspect ratio."""
    if rng.random() < 0.3:
        return image
    wide, high = (np.sqrt(rng.uniform(0.45, 1)) * np.exp(rng.uniform(-0.15, 0.15, 2))).clip(0.5, 1) * SIDE
    left, top = rng.uniform(0, SIDE - wide), rng.uniform(0, SIDE - high)
    return image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high))


def _light(image: Image.Image, rng: Rng) -> Image.Image:
    if rng.random() < 0.2:
        return image
    pixels = np.asarray(image, np.float32) / 255
    pixels = pixels ** np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.18))
    pixels = pixels * np.exp(rng.normal(0, 0.08, 3))  # the colour of the light
    if rng.random() < 0.4:  # a shadow or a lamp from one side
        slope = np.linspace(1, rng.uniform(0.5, 1), SIDE)
        pixels = pixels * np.rot90(np.tile(slope, (SIDE, 1)), int(rng.integers(4)))[:, :, None]
    image = Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8))
    image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.7, 1.4))
    return ImageEnhance.Color(image).enhance(rng.uniform(0.5, 1.5))


def _focus(image: Image.Image, rng: Rng) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2.5))) if rng.random() < 0.3 else image


def _shrink(image: Image.Image, rng: Rng) -> Image.Image:
    """Shrink a picture down to 32 pixels at least and enlarge it again."""
    if rng.random() < 0.7:
        return image
    side = int(np.exp(rng.uniform(np.log(32), np.log(160))))
    return image.resize((side, side), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _save(image: Image.Image, rng: Rng) -> Image.Image:
    if rng.random() < 0.5:
        return image
    out = io.BytesIO()
    image.save(out, "JPEG", quality=int(rng.integers(25, 90)))
    return Image.open(out).convert("RGB")


# --- another background -------------------------------------------------------------------------------------------


def _on(image: Image.Image, ground: Floats, rng: Rng) -> Image.Image:
    """The thing on another ground: what differs from the board is kept, the board's shadows darken the ground."""
    pixels = np.asarray(image, np.float32) / 255
    mask, board = _thing(pixels)
    if not 0.04 < mask.mean() < 0.85:
        return image  # nothing to be told from the board: a white sheet, or a photo that the thing fills
    shadow = (pixels.mean(2) / board).clip(0.35, 1.1)[:, :, None]
    alpha = mask[:, :, None]
    mixed = alpha * pixels + (1 - alpha) * ground * shadow
    scale = rng.uniform(0.6, 1)
    result = Image.fromarray((mixed.clip(0, 1) * 255).astype(np.uint8))
    if scale > 0.9:
        return result
    return _smaller(result, Image.fromarray((ground * 255).astype(np.uint8)), scale, rng)


def _smaller(image: Image.Image, ground: Image.Image, scale: float, rng: Rng) -> Image.Image:
    side = int(SIDE * scale)
    out = ground.copy()
    at = rng.integers(0, SIDE - side + 1, 2)
    out.paste(image.resize((side, side), Image.Resampling.BILINEAR), (int(at[0]), int(at[1])))
    return out


def _thing(pixels: Floats) -> tuple[Floats, float]:
    """(soft mask of what is no board, brightness of the board), by the difference from the border's colour plane."""
    small = pixels[::2, ::2]
    side = SIDE // 2
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    plane = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 2).reshape(-1, 6)
    border = ((np.abs(x) > 0.42) | (np.abs(y) > 0.42)).ravel()
    edge, colours = plane[border], small.reshape(-1, 3)[border]
    keep = np.ones(len(edge), bool)
    for _ in range(3):  # what touches the border is no board: fit again without it
        fitted = edge[keep]
        weights = np.linalg.solve(fitted.T @ fitted, fitted.T @ colours[keep])
        off = np.abs(colours - edge @ weights).max(1)
        keep = off < max(0.04, float(np.median(off)) * 2)
        if keep.sum() < 125:
            return np.zeros((SIDE, SIDE), np.float32), 1.0
    differs = np.abs(small - (plane @ weights).reshape(side, side, 3)).max(2) > 0.11
    closed = Image.fromarray(differs.astype(np.uint8) * 255).filter(ImageFilter.MedianFilter(3))
    closed = closed.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.MinFilter(5))
    soft = closed.resize((SIDE, SIDE), Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(1))
    return np.asarray(soft, np.float32) / 255, max(float(colours[keep].mean()), 0.2)


def _background(rng: Rng, photos: Sequence[Image.Image]) -> Floats:
    made: list[Callable[[Rng], Floats]] = [_plain, _wood, _grain]
    if rng.random() < 0.5:
        return made[rng.integers(len(made))](rng).clip(0, 1).astype(np.float32)
    photo = photos[int(rng.integers(len(photos)))]
    side = min(photo.size) * rng.uniform(0.2, 0.9)
    left, top = rng.uniform(0, photo.width - side), rng.uniform(0, photo.height - side)
    cut = photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return np.asarray(cut, np.float32) / 255


def _colour(rng: Rng) -> Floats:
    grey = rng.uniform(0.1, 1)
    return (grey * np.exp(rng.normal(0, 0.15, 3))).astype(np.float32)


def _plain(rng: Rng) -> Floats:
    """Pure white as in shops, or a wall."""
    if rng.random() < 0.4:
        return np.ones((SIDE, SIDE, 3), np.float32)
    return np.tile(_colour(rng), (SIDE, SIDE, 1)) + rng.normal(0, 0.01, (SIDE, SIDE, 1)).astype(np.float32)


def _noise(rng: Rng, high: int, wide: int) -> Floats:
    small = Image.fromarray(rng.integers(0, 255, (high, wide), np.uint8))
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255 - 0.5


def _wood(rng: Rng) -> Floats:
    grain = sum((_noise(rng, 3, n) / k for k, n in enumerate((12, 40, 120), 1)), np.zeros((SIDE, SIDE), np.float32))
    tone = np.array([0.62, 0.45, 0.3], np.float32) * rng.uniform(0.5, 1.4)
    return np.rot90(tone * (1 + 0.8 * grain[:, :, None]), int(rng.integers(2)))


def _grain(rng: Rng) -> Floats:
    """Stone, cloth, carpet, gravel: noise of several sizes on a colour."""
    sizes = rng.choice([6, 12, 24, 60, 120, 256], 3, replace=False)
    noise = sum((_noise(rng, n, n) for n in sizes), np.zeros((SIDE, SIDE), np.float32))
    return _colour(rng) * (1 + rng.uniform(0.2, 1.2) * noise[:, :, None])
