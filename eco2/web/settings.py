"""Settings of web."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from eco2.core.settings import KnowledgeSettings, Settings


def _tiles(url: str) -> str:
    """Nothing, or the address of one origin: the Content-Security-Policy names it."""
    if not url:
        return url
    host = urlsplit(url).netloc
    if not url.startswith(("https://", "http://")) or not host or set("{}*;, '\"") & set(host):
        raise ValueError("must begin with https:// and one host, without {s}")
    if not all(part in url for part in ("{z}", "{x}", "{y}")):
        raise ValueError("must contain {z}, {x} and {y}")
    return url


class WebSettings(Settings, KnowledgeSettings):
    public_url: str
    """Base URL of the page as browsers reach it: canonical addresses and the site map are written with it."""
    storage_public_endpoint: str
    """The host that photos are uploaded to; the page may send there."""
    cdn_base_url: str
    """Base URL of checked photos; the page may show them."""
    static_dir: Path = Path(__file__).with_name("static")
    """Files that `make web` built."""
    map_tiles: Annotated[str, AfterValidator(_tiles)] = ""
    """Address of the map's tiles, as https://tiles.example.org/{z}/{x}/{y}.png; without one its ground is plain."""
    map_credit: str = ""
    """Attribution on the map, as the licence of the tiles requires."""
