"""Envoy, the gateway."""

import json
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from eco2.local import config, probes
from eco2.local.config import Layout
from eco2.local.servers.common import PLAIN, own_folder, script
from eco2.local.supervisor import Unit


def _prepare(at: Layout) -> None:
    from eco2.local import envoy

    text = envoy.render(
        ports=config.route_ports(at),
        gateway_port=at.gateway_port,
        admin_port=at.port(config.GATEWAY_ADMIN),
        admin_socket=str(at.folder("gateway", "admin.sock")),
        object_store_port=urlsplit(config.environment(at)["ECO2_STORAGE_ENDPOINT"]).port or 80,
        bucket=config.BUCKET,
        upload_bucket=config.UPLOAD_BUCKET,
        cors_origins=json.loads(config.environment(at)["ECO2_CORS_ORIGINS"]),
        issuer=config.issuer(at),
        traces_port=at.port(config.TRACES) if at.observe else None,
        hosts=[urlsplit(url).hostname or "" for url in json.loads(config.environment(at)["ECO2_REDIRECT_URLS"])],
    )
    folder = own_folder(at.folder("gateway"), None)
    config.write_private(folder / "envoy.yaml", text)


def unit(at: Layout) -> Unit:
    admin = at.port(config.GATEWAY_ADMIN)
    file = at.folder("gateway", "envoy.yaml")
    arguments = ("-c", str(file), "--base-id", str(at.port_base), "--log-level", "warn", "--concurrency", "2")
    return Unit(
        "gateway",
        "server",
        at.gateway_port,
        (str(script("envoy")), *arguments),
        probes.http(f"http://127.0.0.1:{admin}/ready"),
        environment=PLAIN,
        folder=Path("/"),
        prepare=partial(_prepare, at),
        side_ports=(admin,),
    )
