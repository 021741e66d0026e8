import dataclasses
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from eco2 import knowledge, photos
from eco2.photos import reading
from eco2.photos.pool import Decoders
from eco2.scan.outputs import VisionResult
from eco2.scan.vision import network
from eco2.scan.vision.beliefs import MATERIALS, Head, LabelTable, Senses
from eco2.scan.vision.embedded import EmbeddedVision
from eco2.scan.vision.phash import SIDE, phash
from eco2.scan.vision.picture import FOR_EMBEDDED, Picture
from tests import photos as samples

DATA = Path(__file__).parents[2] / "data"
TABLES = DATA / "vision"
COFFEE = DATA / "demo" / "coffee.jpg"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    network.model_path(directory)
    return directory


@pytest.fixture(scope="module")
def embedded(cache: Path) -> EmbeddedVision:
    return EmbeddedVision(cache, Senses.load(TABLES, knowledge.load()))


def square(data: bytes) -> bytes:
    return reading.square(reading.decode(data, network.SIDE), network.SIDE)


def test_the_model_is_built_once(cache: Path) -> None:
    path = network.model_path(cache)
    before = path.stat()
    assert network.model_path(cache) == path
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert os.listdir(cache) == [path.name]


def test_the_model_has_the_announced_shapes(cache: Path) -> None:
    session = onnxruntime.InferenceSession(network.model_path(cache), providers=["CPUExecutionProvider"])
    outputs = ["features", "textures", "logits"]
    features, textures, logits = session.run(outputs, {"image": np.zeros((2, 3, 224, 224), np.float32)})
    assert features.shape == (2, network.FEATURES)
    assert textures.shape == (2, network.TEXTURES)
    assert logits.shape == (2, network.CLASSES)


@pytest.mark.parametrize("part", [0, 0.5, 0.999])
def test_a_half_written_model_is_built_again(tmp_path: Path, cache: Path, part: float) -> None:
    whole = network.model_path(cache)
    content = whole.read_bytes()
    (tmp_path / whole.name).write_bytes(content[: int(len(content) * part)])
    assert network.model_path(tmp_path).read_bytes() == content
    assert len(os.listdir(tmp_path)) == 1


def test_processes_may_race_for_the_first_use(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        paths = pool.map(network.model_path, [tmp_path / "new"] * 3)
    assert len(set(paths)) == 1
    assert os.listdir(tmp_path / "new") == [paths[0].name]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        network.model_path(tmp_path)
    assert os.listdir(tmp_path) == []


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(network, "_WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(network.ModelError, match="not the expected ones"):
        network.model_path(tmp_path)


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(network, "_PACKAGE", "no_such_package")
    with pytest.raises(network.ModelError, match="not installed"):
        network.model_path(tmp_path)


def test_weights_cannot_run_code() -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("exit 1",)

    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        network._read_weights(pickle.dumps(Attack()))


def test_the_tables_cover_all_labels_and_know_only_items_of_the_taxonomy() -> None:
    base = knowledge.load()
    senses = Senses.load(TABLES, base)
    assert senses.shares.shape == (len(senses.item_ids), network.CLASSES)
    assert set(senses.item_ids) <= set(base.items)
    for number, material in enumerate(MATERIALS):
        assert senses.typical[senses.material == number].sum() == pytest.approx(1), material


def test_items_that_the_taxonomy_lacks_are_named() -> None:
    base = knowledge.load()
    fewer = dataclasses.replace(base, items={name: item for name, item in base.items.items() if name != "drink_can"})
    with pytest.raises(ValueError, match="unknown items: drink_can"):
        Senses.load(TABLES, fewer)


@pytest.mark.parametrize("line", ["metal,pot,0.1\n", "wood,pot,0\n"])
def test_materials_that_do_not_add_up_are_refused(tmp_path: Path, line: str) -> None:
    shutil.copytree(TABLES, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "materials.csv").open("a") as file:
        file.write(line)
    with pytest.raises(ValueError, match=r"materials\.csv"):
        Senses.load(tmp_path, knowledge.load())


def test_a_head_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "head.npz", weights=np.zeros((3, 7)), biases=np.zeros(7), numbers=np.ones(4))
    with pytest.raises(ValueError, match=r"head\.npz"):
        Head.load(tmp_path / "head.npz")


def test_a_table_with_a_gap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("classes,label,item_id,share,note\n0-998,animals,-,1,\n")
    with pytest.raises(ValueError, match="each label needs shares"):
        LabelTable.load(path)
    path.write_text("classes,label,item_id,share,note\n0-999,animals,-,1,\n5,box,corrugated_box,0.1,\n")
    with pytest.raises(ValueError, match="add up to at most 1"):
        LabelTable.load(path)


def test_the_demo_photo_is_told(embedded: EmbeddedVision) -> None:
    result = embedded.classify(square(COFFEE.read_bytes()))
    assert (result.item_id, result.needs_choice, result.waste) == ("ceramic", False, True)
    assert result.model.startswith("efficientnet-lite0+")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "HEIF"])
def test_every_type_and_a_turned_photo_give_the_same(embedded: EmbeddedVision, kind: str) -> None:
    coffee = reading.decode(COFFEE.read_bytes(), 400)
    assert embedded.classify(square(samples.encoded(coffee, kind))).item_id == "ceramic"
    if kind != "GIF":
        turned = samples.encoded(coffee.rotate(90, expand=True), kind, exif=samples.exif(orientation=6))
        assert embedded.classify(square(turned)).item_id == "ceramic"


async def test_hash_and_model_see_the_pixels_of_one_decoding(decoders: Decoders) -> None:
    picture = Picture(decoders, "somebody", FOR_EMBEDDED, COFFEE.read_bytes())
    image = reading.decode(picture.data, network.SIDE)
    assert await picture.square() == reading.square(image, network.SIDE)
    assert await picture.phash() == phash(reading.grey(image, SIDE))


def test_noise_is_asked_about(embedded: EmbeddedVision) -> None:
    result = embedded.classify(square(samples.jpeg(400, 300)))
    assert (result.item_id, result.needs_choice) == (None, True)


async def test_broken_photos_raise(decoders: Decoders) -> None:
    with pytest.raises(photos.PhotoBroken):
        await Picture(decoders, "somebody", FOR_EMBEDDED, COFFEE.read_bytes()[:200]).square()


def test_threads_share_one_model(embedded: EmbeddedVision) -> None:
    given = [COFFEE.read_bytes(), samples.jpeg(300, 200)]
    expected = [embedded.classify(square(data)) for data in given]
    together = threading.Barrier(8)

    def classify(n: int) -> list[VisionResult]:
        together.wait()
        return [embedded.classify(square(given[(n + k) % 2])) for k in range(4)]

    with ThreadPoolExecutor(8) as pool:
        for n, results in enumerate(pool.map(classify, range(8))):
            assert results == [expected[(n + k) % 2] for k in range(4)]


_USE = """
import pathlib, sys
from concurrent.futures import ThreadPoolExecutor
from eco2 import knowledge
from eco2.scan.vision.beliefs import Senses
from eco2.scan.vision.embedded import EmbeddedVision
cache, tables = map(pathlib.Path, sys.argv[1:])
vision = EmbeddedVision(cache, Senses.load(tables, knowledge.load()))
with ThreadPoolExecutor(8) as pool:
    list(pool.map(vision.classify, [bytes(224 * 224 * 3) for _ in range(40)]))
print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])
"""


def test_the_model_is_used_in_at_most_200_mb(cache: Path) -> None:
    command = [sys.executable, "-c", _USE, str(cache), str(TABLES)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert int(done.stdout) <= 200 * 1024
