"""Start of an emulator: as a unit of the local supervisor, and as a program."""

import argparse
import sys

import uvicorn

from eco2.local import config, probes
from eco2.local.config import Layout
from eco2.local.emulators.guard import App, FromHereOnly
from eco2.local.supervisor import Unit


def unit(at: Layout, name: str, module: str, offset: int, *arguments: str) -> Unit:
    """The module as a server on its port; `arguments` as on its command line."""
    port = at.port(offset)
    command = (sys.executable, "-m", module, "--port", str(port), *arguments)
    return Unit(name, "server", port, command, probes.http(f"http://127.0.0.1:{port}/ready"), folder=config.CHECKOUT)


def parser(module: str, description: str) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog=f"python -m eco2.local.emulators.{module}", description=description)
    found.add_argument("--port", type=int, required=True)
    return found


def serve(app: App, port: int, log_level: str = "warning") -> None:
    uvicorn.run(
        FromHereOnly(app),
        host="127.0.0.1",
        port=port,
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level=log_level,
        timeout_graceful_shutdown=1,
    )
