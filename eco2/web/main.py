"""Entry point of web."""

import logging
from html import escape

from eco2 import knowledge
from eco2.core import telemetry
from eco2.core.ops import OpsApp, serve
from eco2.core.settings import load
from eco2.web import files, headers
from eco2.web.app import Site
from eco2.web.settings import WebSettings

NAME = "web"
log = logging.getLogger(__name__)


def app(settings: WebSettings) -> OpsApp:
    policy = headers.policy(settings.storage_public_endpoint, settings.cdn_base_url, settings.map_tiles)
    secure = headers.security(policy, https=settings.public_url.startswith("https:"))
    site = Site(_files(settings), knowledge.load(settings.data_dir), settings.public_url, secure, _map(settings))
    return OpsApp(NAME, {}, site)


def _map(settings: WebSettings) -> str:
    """Tags that tell the page where its map comes from; none without tiles."""
    if not settings.map_tiles:
        return ""
    rows = {"eco2-map-tiles": settings.map_tiles, "eco2-map-credit": settings.map_credit}
    return "".join(f'<meta name="{name}" content="{escape(value)}">' for name, value in rows.items())


def _files(settings: WebSettings) -> dict[str, files.File] | None:
    """SystemExit if the app is not built; a local stack shows a page that says so."""
    try:
        return files.load(settings.static_dir)
    except files.NotBuilt as error:
        if settings.environment != "local":
            raise SystemExit(str(error)) from None
        log.warning("%s", error)
        return None


def run() -> None:
    settings = load(WebSettings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
