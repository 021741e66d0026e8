"""The OpenTelemetry collector judges its configuration itself, and forwards spans by it.

Its ports are those of its Pod."""

import asyncio
import gzip
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.cluster.conftest import built
from tests.deploy.platform import CHECKOUT
from tests.redis_server import free_port, until
from tools.cluster.programs import path

CONFIG = CHECKOUT / "workloads/collector/base/config.yaml"
OWN_PORTS = {"4318": "otlp", "8888": "metrics", "13133": "health"}


@pytest.fixture(scope="module")
def collector() -> Path:
    built("otelcol")
    return path("otelcol")


def environment(jaeger: int) -> dict[str, str]:
    return {**os.environ, "ADDRESS": "127.0.0.1", "TRACES_URL": f"http://127.0.0.1:{jaeger}"}


def test_it_takes_the_configuration(collector: Path) -> None:
    command = [str(collector), "validate", f"--config={CONFIG}"]
    done = subprocess.run(command, env=environment(1), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("right", "wrong"), [("queue_size:", "queue_sizes:"), ("[memory_limiter, batch]", "[memory_limit, batch]")]
)
def test_it_refuses_a_slip(collector: Path, tmp_path: Path, right: str, wrong: str) -> None:
    text = CONFIG.read_text()
    assert right in text
    (tmp_path / "config.yaml").write_text(text.replace(right, wrong))
    command = [str(collector), "validate", f"--config={tmp_path / 'config.yaml'}"]
    assert subprocess.run(command, env=environment(1), capture_output=True).returncode != 0


@contextmanager
def running(collector: Path, folder: Path, jaeger: int) -> Iterator[dict[str, int]]:
    """The collector with the committed file, on ports of its own; name → port."""
    ports = {name: free_port() for name in OWN_PORTS.values()}
    text = CONFIG.read_text()
    for number, name in OWN_PORTS.items():
        assert text.count(number) == 1
        text = text.replace(number, str(ports[name]))
    file = folder / "config.yaml"
    file.write_text(text)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([collector, f"--config={file}"], env=environment(jaeger), stdout=log, stderr=log)
    try:
        yield ports
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "log").read_text()


@asynccontextmanager
async def jaeger_at(port: int) -> AsyncIterator[list[bytes]]:
    """Ids of the traces that arrive."""
    found: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                assert b"post /v1/traces " in head
                lengths = [row[15:] for row in head.splitlines() if row.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0]))
                packed = b"content-encoding: gzip" in head
                request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if packed else body)
                for resource in request.resource_spans:
                    found.extend(span.trace_id for scope in resource.scope_spans for span in scope.spans)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", port)
    try:
        yield found
    finally:
        server.close()


def spans(trace: bytes, count: int) -> bytes:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(count):
        scope.spans.add(trace_id=trace, span_id=number.to_bytes(8), name="n", start_time_unix_nano=1)
    return request.SerializeToString()


async def test_what_comes_while_jaeger_is_away_reaches_it_later(collector: Path, tmp_path: Path) -> None:
    jaeger, trace = free_port(), b"0123456789abcdef"
    with running(collector, tmp_path, jaeger) as ports:
        async with httpx2.AsyncClient() as http:

            async def ready() -> bool:
                try:
                    return (await http.get(f"http://127.0.0.1:{ports['health']}/")).status_code == 200
                except httpx2.TransportError:
                    return False

            async def tried() -> bool:
                return "Exporting failed. Will retry" in (tmp_path / "log").read_text()

            await until(ready, 60)
            sent = await http.post(
                f"http://127.0.0.1:{ports['otlp']}/v1/traces",
                content=spans(trace, 700),
                headers={"content-type": "application/x-protobuf"},
            )
            assert sent.status_code == 200
            await until(tried, 60)
            async with jaeger_at(jaeger) as found:

                async def arrived() -> bool:
                    return len(found) == 700

                await until(arrived, 60)
                assert set(found) == {trace}
            told = (await http.get(f"http://127.0.0.1:{ports['metrics']}/metrics")).text
            assert "otelcol_exporter_sent_spans" in told


def test_the_ports_are_those_of_the_pod() -> None:
    deployment = yaml.safe_load((CHECKOUT / "workloads/collector/base/deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {str(row["containerPort"]) for row in container["ports"]} == OWN_PORTS.keys()
