"""AWS's double (moto's server), a process of its own on loopback."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import httpx2

from tests.infra import plans

REGION = "ap-northeast-2"
ACCOUNT = "123456789012"


def free_port() -> int:
    """Below the kernel's own range, which hands ports to clients."""
    for port in range(21000, 22000):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no port is free")


@contextmanager
def running() -> Iterator[str]:
    """Its address, once it answers."""
    port = free_port()
    command = [str(plans.TOOLS / "bin/python"), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx2.get(f"{address}/moto-api/", timeout=5)
                break
            except httpx2.HTTPError:
                assert server.poll() is None, "moto's server ended"
                assert time.monotonic() < deadline, "moto's server does not answer"
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


def environment(address: str) -> dict[str, str]:
    """Of a process that takes the double for AWS."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "TF_"))}
    return {
        **known,
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "double",
        "AWS_SECRET_ACCESS_KEY": "double",
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


def client(address: str, service: str) -> Any:
    keys = {"aws_access_key_id": "double", "aws_secret_access_key": "double"}
    return boto3.client(service, endpoint_url=address, region_name=REGION, **keys)  # type: ignore[call-overload]
