"""Decoding processes: what is bounded, what a photo that breaks a bound takes with it, and what it does not."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from eco2.photos import PhotoBroken, PhotoTooLarge, PhotoTypeRefused, pool, reading
from eco2.photos.pool import Decoders, DecodersDown
from eco2.photos.settings import PhotoSettings
from eco2.photos.views import Jpeg, Wanted
from tests import photos

ALL = Wanted(grey=64, square=224, jpeg=Jpeg(1024, 768, 85))
PHOTO = photos.jpeg(400, 300)


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(PhotoSettings(photo_seconds=timedelta(seconds=0.5))) as decoders:
        await decoders.warm()
        yield decoders


@pytest.fixture(scope="module")
def costly() -> bytes:
    """Within every limit that its header can break."""
    return photos.encoded(Image.new("RGB", (8000, 8000)), "PNG", compress_level=1)


def proc(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def gone(pid: int) -> bool:
    try:
        return proc(pid, "stat").rpartition(b")")[2].split()[0] in b"ZX"
    except FileNotFoundError:
        return True


def has_files(pid: int, count: int) -> bool:
    return len(os.listdir(f"/proc/{pid}/fd")) == count


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


def stop(decoders: Decoders) -> list[int]:
    """Decoders that take requests and never answer."""
    for pid in decoders.pids:
        os.kill(pid, signal.SIGSTOP)
    return decoders.pids


async def kill(decoders: Decoders) -> None:
    pids = decoders.pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: all(map(gone, pids)))


async def works(decoders: Decoders) -> bool:
    return (await decoders.open(PHOTO, ALL, "somebody else")) == reading.open_photo(PHOTO, ALL)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "HEIF"])
async def test_a_trip_gives_all_that_is_wanted(decoders: Decoders, kind: str) -> None:
    data = photos.with_metadata(kind)
    opened = await decoders.open(data, ALL, "somebody")
    assert opened == reading.open_photo(data, ALL)
    assert (len(opened.grey), len(opened.square)) == (64 * 64, 224 * 224 * 3)
    assert opened.jpeg.startswith(b"\xff\xd8\xff")
    again = await decoders.open(opened.clean, Wanted(), "somebody")
    assert (again.info, again.clean, again.grey) == (opened.info, opened.clean, b"")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"hello", PhotoTypeRefused),
        (photos.jpeg()[:300], PhotoBroken),
        (photos.png_header(20_000, 1_000), PhotoTooLarge),
        (photos.png_header(10_000, 9_000), PhotoTooLarge),
    ],
)
async def test_refusals_are_those_of_the_reader(decoders: Decoders, data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as expected:
        reading.inspect(data)
    with pytest.raises(error) as caught:
        await decoders.open(data, ALL, "somebody")
    assert str(caught.value) == str(expected.value)


async def test_a_photo_that_takes_too_long_fails_alone(decoders: Decoders, costly: bytes) -> None:
    async with Decoders(PhotoSettings(photo_seconds=timedelta(seconds=0.1))) as short:
        await short.warm()
        before = short.pids
        slow = asyncio.create_task(short.open(costly, ALL, "somebody"))
        assert await works(short)
        with pytest.raises(PhotoTooLarge, match="너무 오래"):
            await slow
        assert await works(short)
        await until(lambda: sum(map(gone, before)) == 1)


async def test_a_decoder_that_stands_still_is_replaced(decoders: Decoders) -> None:
    stopped, start = stop(decoders), time.monotonic()
    with pytest.raises(PhotoTooLarge, match="너무 오래"):
        await decoders.open(PHOTO, ALL, "somebody")
    assert 1.4 < time.monotonic() - start < 5
    os.kill(next(pid for pid in stopped if pid in decoders.pids), signal.SIGCONT)
    assert await works(decoders)
    await until(lambda: any(map(gone, stopped)))


async def test_a_photo_is_tried_again_when_its_decoder_was_killed_by_others(decoders: Decoders) -> None:
    await kill(decoders)
    assert await works(decoders)


async def test_a_photo_that_kills_two_decoders_is_broken(decoders: Decoders) -> None:
    stopped = stop(decoders)
    opening = asyncio.create_task(decoders.open(PHOTO, ALL, "somebody"))
    for pid in reversed(stopped):
        await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(PhotoBroken):
        await opening
    assert await works(decoders)


async def test_a_caller_that_gives_up_leaves_a_decoder_that_works(decoders: Decoders) -> None:
    stopped = stop(decoders)
    for _ in stopped:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(decoders.open(PHOTO, ALL, "somebody"), 0.05)
    await until(lambda: all(map(gone, stopped)))
    assert await works(decoders)


async def test_decoders_outlive_the_template_and_another_one_is_started(decoders: Decoders) -> None:
    process = decoders._template._process
    assert process is not None
    process.kill()
    process.wait()
    assert await works(decoders)
    await kill(decoders)
    assert await works(decoders)


async def test_a_decoder_is_replaced_after_many_photos(decoders: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PHOTOS_A_DECODER", 3)
    before = decoders.pids
    for _ in range(7):
        assert await works(decoders)
    await until(lambda: all(map(gone, before)))


async def test_the_end_waits_for_no_photo() -> None:
    async with Decoders(PhotoSettings()) as decoders:
        await decoders.warm()
        pids = stop(decoders)
        opening = asyncio.create_task(decoders.open(PHOTO, ALL, "somebody"))
        await asyncio.sleep(0.05)
    with pytest.raises(DecodersDown):
        await opening
    with pytest.raises(DecodersDown):
        await decoders.open(PHOTO, ALL, "somebody")
    await until(lambda: all(map(gone, pids)))


_ORPHANS = """
import asyncio, sys
from eco2.photos.pool import Decoders
from eco2.photos.settings import PhotoSettings
async def main():
    async with Decoders(PhotoSettings()) as decoders:
        await decoders.warm()
        print(decoders._template._process.pid, *decoders.pids, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_decoders_end_with_the_process_they_work_for() -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", _ORPHANS, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pids = [int(pid) for pid in (await parent.stdout.readline()).split()]
    assert len(pids) == 3
    parent.kill()
    await parent.wait()
    await until(lambda: all(map(gone, pids)))


async def test_a_decoder_knows_no_secret_of_the_process_it_works_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECO2_STORAGE_SECRET_KEY", "s3cret")
    async with Decoders(PhotoSettings()) as decoders:
        await decoders.warm()
        for pid in decoders.pids:
            assert b"ECO2_" not in proc(pid, "environ")
            await until(partial(has_files, pid, 3))  # output, errors, its connection


_CONFINED = """
import sys
from pathlib import Path
from eco2.photos import child, reading
child._confine(128 << 20)
costly, photo = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_bytes()
told, _ = child.answer({"square": 224, "checked": True}, costly, 10**12)
assert told["error"] == "IMAGE_TOO_LARGE", told
assert "메모리" in told["message"]
assert "error" not in child.answer({"square": 224}, photo, 10**12)[0]
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
assert peak < 300_000, peak
"""


def test_memory_past_the_bound_is_refused_to_a_decoder_that_lives_on(costly: bytes, tmp_path: Path) -> None:
    """Even where the check of the header lets a photo through."""
    given = [tmp_path / "costly.png", tmp_path / "photo.jpg"]
    for path, data in zip(given, (costly, PHOTO), strict=True):
        path.write_bytes(data)
    subprocess.run([sys.executable, "-c", _CONFINED, *map(str, given)], check=True, timeout=60)


async def test_a_storm_of_one_user_leaves_others_their_turn(costly: bytes) -> None:
    async with Decoders(PhotoSettings()) as decoders:
        await decoders.warm()
        storm = [asyncio.create_task(decoders.open(costly, ALL, "stormy")) for _ in range(20)]
        await asyncio.sleep(0)
        for number in range(10):
            assert (await decoders.open(PHOTO, ALL, f"user {number}")).grey
        assert sum(task.done() for task in storm) < 10
        for task in storm:
            task.cancel()
        await asyncio.wait(storm)
