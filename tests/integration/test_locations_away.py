"""location-api while PostgreSQL is away, and when it is back."""

import asyncio
import uuid
from contextlib import suppress
from urllib.parse import urlsplit

import httpx2

from eco2.contracts.identity import USER_ID_HEADER
from eco2.core.ops import serve_async
from eco2.location import main
from eco2.location.settings import ApiSettings
from tests.conftest import FromStack
from tests.integration.queue.conftest import Wire
from tests.redis_server import free_port, until

CENTERS = "/api/v1/locations/centers?lat=37.5553&lon=126.9019"


async def test_without_postgresql_the_map_says_so_and_comes_back_by_itself(settings: FromStack) -> None:
    given = settings(ApiSettings)
    parts, port = urlsplit(given.database_url), free_port()
    behind = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")).geturl()
    changes = {"database_url": behind, "port": free_port(), "grpc_port": free_port(), "service_secret": None}
    own = given.model_copy(update=changes)
    wire = Wire(parts.port or 0)
    server = await asyncio.start_server(wire.accept, "127.0.0.1", port)
    serving = asyncio.create_task(serve_async(main.app(own), own))
    headers = {USER_ID_HEADER: str(uuid.uuid4())}
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{own.port}", headers=headers, timeout=30) as http:

            async def is_ready() -> bool:
                with suppress(httpx2.TransportError):
                    return (await http.get("/ready")).status_code == 200
                return False

            await until(is_ready, 30)
            places = (await http.get(CENTERS)).raise_for_status().json()
            assert places
            server.close()
            wire.cut()
            paths = [CENTERS, f"/api/v1/locations/centers/{places[0]['id']}", "/api/v1/locations/search?q=주민센터"]
            report = http.post(f"/api/v1/locations/{places[0]['id']}/feedback", json={"kind": "gone"})
            for answer in await asyncio.gather(*(http.get(path) for path in paths), report):
                assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE"), answer.text
                assert answer.headers["retry-after"]
            answer = await http.get("/ready")
            assert (answer.status_code, [*answer.json()["failed"]]) == (503, ["postgres"])
            assert (await http.get("/health")).status_code == 200
            server = await asyncio.start_server(wire.accept, "127.0.0.1", port)
            await until(is_ready, 60)
            assert (await http.get(CENTERS)).json() == places
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        server.close()
        wire.cut()
