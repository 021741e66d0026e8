"""Imports of files in the private bucket, on the real object store."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import obstore
import pytest
import yaml
from typer.testing import CliRunner

from eco2.cli.main import app
from eco2.core import storage
from eco2.core.postgres import Database
from eco2.core.storage import Bucket, ObjectTooLarge, StorageDown, s3_store
from eco2.location.importing import loading, stored
from eco2.location.importing.files import FileRefused
from eco2.location.importing.loading import NothingKept, Order, Report
from eco2.location.importing.stored import AddressRefused, Shelf, Stored
from eco2.location.settings import StoredImportSettings
from tests.conftest import FromStack
from tests.deploy.platform import CHECKOUT, KUBECTL
from tests.integration.locations.conftest import Import, Place, rows
from tests.redis_server import free_port

BROKEN = ["9", "나", "", "", "", "", ""]
CSV = "text/csv"


class Bench:
    """The folder of the bucket; what a test puts there is removed at its end."""

    def __init__(self, settings: StoredImportSettings, load: Import) -> None:
        self.settings, self.load, self.shelf = settings, load, Shelf(settings)
        self.raw = s3_store(settings, settings.storage_endpoint, settings.ops_bucket)
        self.kept: list[Stored] = []

    async def put(self, some: list[Any]) -> Stored:
        return await self.shelf.put(self.load.file(some))

    async def keys(self, file: Stored) -> list[str]:
        stem = file.key.removesuffix(".csv")
        return [
            found.key
            async for some in Bucket(self.raw).listed(stored.FOLDER)
            for found in some
            if found.key.startswith(stem)
        ]

    async def run(self, address: str, feed: str, settings: StoredImportSettings | None = None) -> Report:
        def order(path: Path) -> Order:
            return loading.order(path, "battery-boxes", licence="own", feed=feed)

        return await stored.load(settings or self.settings, address, order, None, self.kept.append)


@pytest.fixture
async def bench(settings: FromStack, load: Import) -> AsyncIterator[Bench]:
    made = Bench(settings(StoredImportSettings), load)
    yield made
    for path in load.folder.glob("*.csv"):
        for key in await made.keys(Stored(made.settings.ops_bucket, path.name)):
            await Bucket(made.raw).delete([key])


async def test_a_file_of_the_bucket_is_imported_and_its_report_lies_beside_it(
    bench: Bench, feed: str, database: Database
) -> None:
    file = await bench.put([Place("1", "상자", 34.0, 126.0), BROKEN])
    report = await bench.run(str(file), feed)
    assert (report.file, report.kept, report.count("rejected")) == (file.name, 1, 1)
    assert [name for (name,) in await rows(database, feed)] == ["상자"]
    (kept,) = bench.kept
    assert await bench.keys(file) == sorted([file.key, kept.key])
    text = bytes(obstore.get(bench.raw, kept.key).bytes()).decode("utf-8-sig")
    assert text.splitlines()[1].startswith("3,rejected,no_place")


async def test_a_refused_file_changes_nothing_and_says_why_beside_it(
    bench: Bench, feed: str, database: Database
) -> None:
    await bench.run(str(await bench.put([Place("1", "상자", 34.0, 126.0)])), feed)
    assert bench.kept == [], "there is nothing to say of a file without faults"
    broken = await bench.put([BROKEN])
    with pytest.raises(NothingKept):
        await bench.run(str(broken), feed)
    assert [row.name.partition(".")[0] for row in bench.kept] == [broken.name.removesuffix(".csv")]
    assert [name for (name,) in await rows(database, feed)] == ["상자"]


async def test_an_older_file_again_is_the_way_back(bench: Bench, feed: str, database: Database) -> None:
    older = await bench.put([Place("1", "상자", 34.0, 126.0), Place("2", "통", 34.1, 126.0)])
    await bench.run(str(older), feed)
    before = await rows(database, feed, "p.name, p.id")
    newer = await bench.put([Place("1", "잘못된 상자", 34.0, 126.0), Place("3", "함", 34.2, 126.0)])
    await bench.run(str(newer), feed)
    assert [name for (name,) in await rows(database, feed)] == ["잘못된 상자", "함"]
    await bench.run(str(older), feed)
    assert await rows(database, feed, "p.name, p.id") == before, "the same places with the same ids"


async def test_nothing_changes_where_the_report_cannot_be_kept(bench: Bench, feed: str, database: Database) -> None:
    async def away(_: Path) -> None:
        raise StorageDown

    asked = loading.order(
        bench.load.file([Place("1", "상자", 34.0, 126.0), BROKEN]), "battery-boxes", licence="own", feed=feed
    )
    with pytest.raises(StorageDown):
        await loading.load(bench.load.url, asked, bench.load.folder / "report.csv", keep=away)
    assert await rows(database, feed) == []


async def test_files_that_are_not_there_not_ours_or_too_large(
    bench: Bench, feed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await bench.put([Place("1", "상자", 34.0, 126.0)])
    with pytest.raises(FileRefused, match="There is no file"):
        await bench.run(str(file) + ".gone", feed)
    for other in (f"s3://{bench.settings.upload_bucket}/imports/{file.name}", "http://127.0.0.1/imports/a.csv"):
        with pytest.raises(AddressRefused):
            await bench.run(other, feed)
    monkeypatch.setattr(stored, "LARGEST", 100)
    with pytest.raises(FileRefused, match="larger than"):
        await bench.run(str(file), feed)
    nobody = bench.settings.model_copy(update={"storage_endpoint": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(StorageDown):
        await bench.run(str(file), feed, nobody)


async def test_an_object_is_read_in_parts_of_one_and_the_same(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PART_BYTES", 1000)
    bucket, key, data = Bucket(bench.raw), f"{stored.FOLDER}parts-{secrets.token_hex(4)}", secrets.token_bytes(2500)
    target = tmp_path / "parts"
    try:
        await bucket.put(key, data, CSV)
        assert await bucket.download(key, target, 2500)
        assert target.read_bytes() == data
        with pytest.raises(ObjectTooLarge):
            await bucket.download(key, target, 2499)
        await bucket.put(key, b"", CSV)
        assert await bucket.download(key, target, 0)
        assert target.read_bytes() == b""

        await bucket.put(key, data, CSV)
        get = obstore.get_async
        asked: list[Any] = []

        async def replaced(*arguments: Any, **options: Any) -> Any:
            if asked:
                await bucket.put(key, data[::-1], CSV)
            asked.append(options)
            return await get(*arguments, **options)

        monkeypatch.setattr(obstore, "get_async", replaced)
        with pytest.raises(StorageDown):
            await bucket.download(key, target, 2500)
        assert len(asked) == 2
    finally:
        await bucket.delete([key])


@pytest.fixture
def invoke(environment: dict[str, str]) -> Callable[..., str]:
    def run(*arguments: str, text: str | None = None) -> str:
        done = CliRunner().invoke(app, ["places", *arguments], env=dict(environment), input=text)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


async def test_the_job_that_is_printed_imports_the_file(
    bench: Bench, feed: str, database: Database, environment: dict[str, str], invoke: Callable[..., str]
) -> None:
    """Its container's command on this stack: upload, dry run, run."""
    source = bench.load.file(
        [Place("1", "상자", 34.0, 126.0), BROKEN], "관리번호,장소,어디,위도,경도,운영시간,데이터기준일자"
    )
    columns = bench.load.folder / "columns.yaml"
    columns.write_text("dataset: icepack_box\ncolumns: {name: 장소, road: 어디, x: 경도, y: 위도}\n", encoding="utf-8")
    address = (await asyncio.to_thread(invoke, "upload", str(source))).strip()
    overlay = CHECKOUT / "workloads/domains/location/dev"
    rendering = partial(subprocess.run, check=True, capture_output=True, text=True)
    rendered = await asyncio.to_thread(rendering, [KUBECTL, "kustomize", overlay])
    template = next(one for one in yaml.safe_load_all(rendered.stdout) if one["kind"] == "CronJob")
    asked = ("job", address, "--format", "generic", "--licence", "own", "--feed", feed, "--map", str(columns))
    own = {**os.environ, **environment, "ECO2_ENVIRONMENT": "local"}
    for more, there in ((("--dry-run",), []), ((), ["상자"])):
        printed = await asyncio.to_thread(invoke, *asked, *more, text=yaml.safe_dump(template))
        config, job = yaml.safe_load_all(printed)
        (container,) = job["spec"]["template"]["spec"]["containers"]
        mapped = bench.load.folder / "map.yaml"
        mapped.write_text(config["data"]["map.yaml"], encoding="utf-8")
        arguments = [str(mapped) if one == "/map/map.yaml" else one for one in container["args"]]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *(*container["command"], *arguments),
            cwd="/",
            env=own,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, progress = await process.communicate()
        assert process.returncode == 0, progress.decode()
        assert f"{address.removesuffix('.csv')}.report-" in progress.decode()
        assert "1 rejected" in said.decode()
        assert [name for (name,) in await rows(database, feed)] == there
