"""Settings of web."""

from pathlib import Path

from eco2.core.settings import KnowledgeSettings, Settings


class WebSettings(Settings, KnowledgeSettings):
    public_url: str
    """Base URL of the page as browsers reach it: canonical addresses and the site map are written with it."""
    storage_public_endpoint: str
    """The host that photos are uploaded to; the page may send there."""
    cdn_base_url: str
    """Base URL of checked photos; the page may show them."""
    static_dir: Path = Path(__file__).with_name("static")
    """Files that `make web` built."""
