"""The private servers: the bucket's rules, PostGIS without a superuser, data that outlives a restart."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import boto3
import httpx2
import psutil
import psycopg
import pytest

from eco2.local import config, state
from eco2.local.servers import setup_database
from eco2.local.stack import Stack
from tests.redis_server import until

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PORTS, GATEWAY_PORT = 11700, 11720
ORIGIN = config.CORS_ORIGINS[0]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Not below pytest's own folder: PostgreSQL may run as another user, who cannot enter that."""
    with tempfile.TemporaryDirectory(prefix="eco2-servers-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "home"


def stack(home: Path) -> Stack:
    names = {"postgres", "object-store"}
    return Stack(home, port_base=PORTS, gateway_port=GATEWAY_PORT, only=names, with_migrations=False)


@pytest.fixture(scope="module")
async def environment(home: Path) -> AsyncIterator[dict[str, str]]:
    """The servers in their second life: the first one stored a row and an object."""
    async with stack(home) as first:
        with psycopg.connect(first["ECO2_DATABASE_URL"]) as db:
            db.execute("CREATE TABLE kept AS SELECT 1 AS one")
        client(first).put_object(Bucket=config.BUCKET, Key="scan/kept.jpg", Body=b"kept", ContentType="image/jpeg")
    async with stack(home) as second:
        yield second


def client(environment: dict[str, str]) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=environment["ECO2_STORAGE_ENDPOINT"],
        aws_access_key_id=environment["ECO2_STORAGE_ACCESS_KEY"],
        aws_secret_access_key=environment["ECO2_STORAGE_SECRET_KEY"],
        region_name="ap-northeast-2",
    )


def test_a_home_that_other_users_cannot_enter_is_kept_where_they_can(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    folder = tmp_path / "closed" / "home"
    made = config.prepare_home(folder)
    try:
        assert folder.resolve() == made
        assert config.prepare_home(folder) == made
        assert made.parent == (Path("/var/tmp") if os.geteuid() == 0 else folder.parent)
    finally:
        made.rmdir()


@pytest.fixture
def bucket_url(environment: dict[str, str]) -> str:
    return f"{environment['ECO2_STORAGE_ENDPOINT']}/{config.BUCKET}"


def test_data_outlives_a_restart(environment: dict[str, str]) -> None:
    with psycopg.connect(environment["ECO2_DATABASE_URL"]) as db:
        assert db.execute("SELECT one FROM kept").fetchone() == (1,)
    assert client(environment).get_object(Bucket=config.BUCKET, Key="scan/kept.jpg")["Body"].read() == b"kept"


async def test_the_log_of_the_database_quotes_no_values(environment: dict[str, str], home: Path) -> None:
    number = "01027182818"
    with psycopg.connect(environment["ECO2_DATABASE_URL"], autocommit=True) as db:
        db.execute("CREATE TEMPORARY TABLE phones (number text UNIQUE, CHECK (length(number) < 12))")
        insert: LiteralString = "INSERT INTO phones VALUES (%s)"
        db.execute(insert, [number])
        with pytest.raises(psycopg.errors.UniqueViolation):
            db.execute(insert, [number])
        with pytest.raises(psycopg.errors.CheckViolation):
            db.execute(insert, [number + "0"])
    log = home / "logs" / "postgres.log"

    async def noted() -> bool:
        return "duplicate key value" in log.read_text() and "violates check constraint" in log.read_text()

    await until(noted, 20)
    assert number not in log.read_text()


def test_anyone_reads_an_object_and_nobody_lists_or_writes_them(bucket_url: str) -> None:
    assert httpx2.get(f"{bucket_url}/scan/kept.jpg").content == b"kept"
    assert httpx2.get(f"{bucket_url}?list-type=2").status_code == httpx2.codes.FORBIDDEN
    assert httpx2.put(f"{bucket_url}/scan/other.jpg", content=b"x").status_code == httpx2.codes.FORBIDDEN
    assert httpx2.delete(f"{bucket_url}/scan/kept.jpg").status_code == httpx2.codes.FORBIDDEN


def test_a_signed_upload_works_with_only_its_content_type(environment: dict[str, str]) -> None:
    parameters = {"Bucket": config.UPLOAD_BUCKET, "Key": "scan/new.jpg"}
    url = client(environment).generate_presigned_url("put_object", Params=parameters, ExpiresIn=60)
    stored = httpx2.put(url, content=b"new", headers={"Content-Type": "image/jpeg", "Origin": ORIGIN})
    assert stored.status_code == httpx2.codes.OK
    assert stored.headers["access-control-allow-origin"] == ORIGIN
    forged = url.replace("scan/new.jpg", "scan/stolen.jpg")
    refused = httpx2.put(forged, content=b"x", headers={"Content-Type": "image/jpeg"})
    assert refused.status_code == httpx2.codes.FORBIDDEN


@pytest.mark.parametrize(("origin", "allowed"), [(ORIGIN, ORIGIN), ("https://elsewhere.example", None)])
def test_browsers_of_our_origins_may_upload(environment: dict[str, str], origin: str, allowed: str | None) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    url = f"{environment['ECO2_STORAGE_ENDPOINT']}/{config.UPLOAD_BUCKET}/scan/new.jpg"
    answer = httpx2.options(url, headers=asked)
    assert answer.headers.get("access-control-allow-origin") == allowed


def test_uploads_are_private_and_expire(environment: dict[str, str]) -> None:
    store = client(environment)
    store.put_object(Bucket=config.UPLOAD_BUCKET, Key="scan/sent.jpg", Body=b"sent")
    url = f"{environment['ECO2_STORAGE_ENDPOINT']}/{config.UPLOAD_BUCKET}"
    assert httpx2.get(f"{url}/scan/sent.jpg").status_code == httpx2.codes.FORBIDDEN
    assert httpx2.get(f"{url}?list-type=2").status_code == httpx2.codes.FORBIDDEN
    (rule,) = store.get_bucket_lifecycle_configuration(Bucket=config.UPLOAD_BUCKET)["Rules"]
    assert (rule["Status"], rule["Expiration"]["Days"]) == ("Enabled", 1)


SIDE_DOORS = (
    ("POST", config.STORE_FILER, "/buckets/eco2-images/evil.html"),
    ("POST", config.STORE_FILER, "/"),
    ("DELETE", config.STORE_FILER, "/buckets/eco2-images/scan/kept.jpg"),
    ("GET", config.STORE_FILER, "/buckets/eco2-images/scan/kept.jpg"),
    ("GET", config.STORE_MASTER, "/dir/assign"),
    ("POST", config.STORE_MASTER, "/submit"),
    ("GET", config.STORE_MASTER, "/col/delete?collection=eco2-images"),
    ("GET", config.STORE_MASTER, "/vol/grow?count=1"),
    *(("POST", config.STORE_VOLUME, f"/{volume},0112345678") for volume in range(1, 9)),
    *(("DELETE", config.STORE_VOLUME, f"/{volume},0112345678") for volume in range(1, 9)),
    ("GET", config.STORE_VOLUME, "/ui/index.html"),
)


@pytest.mark.parametrize(("method", "port", "path"), SIDE_DOORS)
def test_no_side_door_of_the_store_does_what_a_page_in_a_browser_asks(
    bucket_url: str, method: str, port: int, path: str
) -> None:
    """A form or a picture of any page on this machine reaches these ports."""
    form = {"file": ("evil.html", b"<script>alert(1)</script>", "text/html")} if method == "POST" else None
    answer = httpx2.request(method, f"http://127.0.0.1:{PORTS + port}{path}", files=form)
    assert answer.status_code in (401, 404)
    assert httpx2.get(f"{bucket_url}/evil.html").status_code == httpx2.codes.NOT_FOUND
    assert httpx2.get(f"{bucket_url}/scan/kept.jpg").content == b"kept"


OPEN_PAGES = (
    (config.STORE_MASTER, "/"),
    (config.STORE_MASTER, "/cluster/status"),
    (config.STORE_VOLUME, "/status"),
)


@pytest.mark.parametrize(("port", "path"), OPEN_PAGES)
def test_what_the_store_tells_a_name_that_was_pointed_here_is_no_content_and_no_key(
    environment: dict[str, str], home: Path, port: int, path: str
) -> None:
    """It does not check `Host`: a page that rebinds its name reads sizes of disks and versions, any other nothing."""
    page = {"Host": "evil.example", "Origin": "http://evil.example"}
    answer = httpx2.get(f"http://127.0.0.1:{PORTS + port}{path}", headers=page)
    assert "access-control-allow-origin" not in answer.headers
    credentials = stack(home).layout.credentials
    secrets = [credentials.s3_access_key, credentials.s3_secret_key, credentials.store_signing_key]
    assert not [word for word in (*secrets, "kept.jpg") if word in answer.text]


def test_the_platforms_role_uses_postgis_without_being_superuser(environment: dict[str, str]) -> None:
    with psycopg.connect(environment["ECO2_DATABASE_URL"]) as db:
        metres = db.execute("SELECT ST_Distance('POINT(127 37)'::geography, 'POINT(127 38)'::geography)").fetchone()
        assert metres is not None
        assert metres[0] == pytest.approx(110_987, abs=1)
        assert db.execute("SELECT usesuper FROM pg_user WHERE usename = current_user").fetchone() == (False,)
        schema = (
            "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'postgis'"
        )
        assert db.execute(schema).fetchone() == ("postgis",)


def test_secrets_are_readable_by_their_owner_only(environment: dict[str, str], home: Path) -> None:
    for file in (home / "credentials.json", home / "object-store" / "s3.json", home / "state.json"):
        assert file.stat().st_mode & 0o077 == 0
    assert environment["ECO2_UPLOAD_SECRET"] in (home / "credentials.json").read_text()


def test_the_start_command_shows_no_secret(environment: dict[str, str], home: Path) -> None:
    written = state.load(home)
    assert written is not None
    secrets = [value for key, value in environment.items() if "SECRET" in key]
    for row in written.processes:
        command = Path(f"/proc/{row.pid}/cmdline").read_text()
        assert not any(secret in command for secret in secrets)


async def test_a_dropped_database_is_made_anew_and_said(home: Path, environment: dict[str, str]) -> None:
    """Run last: it takes the database away."""
    at = stack(home).layout
    admin = (
        f"postgresql://postgres:{at.credentials.postgres_admin_password}@127.0.0.1:{at.port_of('postgres')}/postgres"
    )
    assert setup_database(at) is None
    with psycopg.connect(admin, autocommit=True) as db:
        db.execute("DROP DATABASE eco2 WITH (FORCE)")
    assert "it is empty" in (setup_database(at) or "")
    with psycopg.connect(environment["ECO2_DATABASE_URL"]) as db:
        assert db.execute("SELECT to_regclass('kept')").fetchone() == (None,)


def _pid(home: Path) -> int:
    running = state.load(home)
    assert running is not None
    return next(row.pid for row in running.processes if row.name == "object-store" and row.pid)


@pytest.mark.slow
async def test_the_object_store_rests_when_nobody_asks_it(environment: dict[str, str], home: Path) -> None:
    """Its garbage collector once ran without pause on what is always in use: 8 to 15 % of a core."""
    store, photo = client(environment), os.urandom(200_000)
    for number in range(500):
        store.put_object(Bucket=config.UPLOAD_BUCKET, Key=f"scan/{number}.jpg", Body=photo, ContentType="image/jpeg")
    process = psutil.Process(_pid(home))
    await asyncio.sleep(5)  # what it still does of the uploads
    before = process.cpu_times()
    await asyncio.sleep(20)
    used = sum(process.cpu_times()[:2]) - sum(before[:2])
    assert used / 20 < 0.02, f"{used:.2f} s of 20"
