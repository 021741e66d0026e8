"""The address that services are told: what the proxies in front of the edge say, never a client's own word."""

from pathlib import Path

import pytest

from eco2.contracts.identity import CLIENT_ADDRESS_HEADER
from tests.edge import bearer, plan, received, running_edge

CASES: dict[int, dict[tuple[str, ...], str]] = {
    0: {(): "127.0.0.1", ("192.0.2.1",): "127.0.0.1", ("192.0.2.1, 192.0.2.2",): "127.0.0.1"},
    1: {
        (): "127.0.0.1",
        ("192.0.2.1",): "192.0.2.1",
        ("192.0.2.66, 192.0.2.1",): "192.0.2.1",
        ("192.0.2.66", "192.0.2.1"): "192.0.2.1",
        ("2001:db8::1",): "2001:db8::1",
        ("not an address",): "127.0.0.1",
    },
    2: {("192.0.2.66, 192.0.2.1, 192.0.2.2",): "192.0.2.1"},
}


@pytest.mark.parametrize("proxies", CASES)
async def test_a_client_is_known_by_what_the_trusted_proxies_say(tmp_path: Path, proxies: int) -> None:
    async with running_edge(tmp_path, plan(proxies)) as edge:
        for lines, address in CASES[proxies].items():
            headers = [*bearer().items(), *(("X-Forwarded-For", line) for line in lines)]
            for claimed in ([], [(CLIENT_ADDRESS_HEADER, "192.0.2.99"), ("X-Envoy-External-Address", "192.0.2.99")]):
                for path in ("/api/v1/auth/refresh", "/api/v1/scan/categories"):
                    response = await edge.client.get(path, headers=[*headers, *claimed])
                    assert received(response)[CLIENT_ADDRESS_HEADER] == address, (lines, path)
