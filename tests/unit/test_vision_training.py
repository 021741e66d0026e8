import numpy as np
import pytest
from PIL import Image

from tools.vision.augment import SIDE, _thing, vary
from tools.vision.regression import fit, softmax
from tools.vision.train import blocks, folds


def test_the_fit_finds_what_tells_classes_apart() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = rng.normal(0, 1, (300, 5)).astype(np.float32) * 100
    x[np.arange(300), y] += 400
    weights, biases = fit(x, y, np.ones(300, np.float32), classes=3, l2=1e-3)
    assert (softmax(x @ weights + biases).argmax(1) == y).mean() > 0.97


def test_a_stronger_penalty_makes_it_less_sure() -> None:
    x, y = np.array([[-1.0], [1.0]] * 20, np.float32), np.array([0, 1] * 20)
    sure = []
    for l2 in (1e-3, 1.0):
        weights, biases = fit(x, y, np.ones(40, np.float32), classes=2, l2=l2)
        sure.append(float(softmax(x @ weights + biases).max(1).mean()))
    assert sure[0] > 0.95 > sure[1]


def test_rows_count_by_their_weight() -> None:
    x, y = np.zeros((4, 1), np.float32), np.array([0, 0, 0, 1])
    weights, biases = fit(x, y, np.array([1, 1, 1, 9], np.float32), classes=2, l2=1e-3)
    assert softmax(x @ weights + biases)[0] == pytest.approx([0.25, 0.75], abs=0.01)


def test_photos_that_look_alike_share_a_block_and_a_fold() -> None:
    features = np.array([[1, 0, 0], [1, 0.5, 0], [1, 1.2, 0], [0, 0, 1], [1, 0, 0]], np.float32)
    label = np.array([0, 0, 0, 0, 1])
    block = blocks(features, label)
    assert block[0] == block[1] == block[2], "the third is like the second, though not like the first"
    assert len({block[0], block[3], block[4]}) == 3
    fold = folds(np.arange(5), block)
    assert fold[0] == fold[1] == fold[2]


def board() -> Image.Image:
    """A dark square on a white board that gets darker to one side."""
    pixels = np.tile(np.linspace(235, 200, SIDE)[:, None], (SIDE, 3)).reshape(SIDE, 3, SIDE).transpose(0, 2, 1).copy()
    pixels[60:160, 60:160] = (120, 40, 30)
    return Image.fromarray(pixels.astype(np.uint8))


def test_the_thing_is_told_from_its_board() -> None:
    mask, _ = _thing(np.asarray(board(), np.float32) / 255)
    assert mask[70:150, 70:150].min() > 0.95
    assert mask[:50].max() < 0.05


def test_variations_differ_and_are_the_same_for_the_same_seed() -> None:
    ground = [Image.new("RGB", (300, 200), "green")]
    one, again, other = (np.asarray(vary(board(), np.random.default_rng(n), ground)) for n in (1, 1, 2))
    assert one.shape == (SIDE, SIDE, 3)
    assert (one == again).all()
    assert (one != other).any()
