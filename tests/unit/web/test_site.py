"""The page as it is served: files in the encoding that was asked for, pages of the knowledge base, nothing inline."""

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from eco2 import knowledge
from eco2.local.envoy import load as routing
from eco2.web import files, headers, rules
from eco2.web.app import APP_PAGES, GUIDE, Site
from eco2.web.main import app
from eco2.web.settings import WebSettings, _tiles

BASE = "https://api.example"
KNOWN = knowledge.load()
SHELL = '<!doctype html><html lang="ko"><head><!--head--></head><body><div id="app"><!--body--></div></body></html>'


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    script = b"console.log(1)" * 40
    (folder / "app.js").write_bytes(script)
    (folder / "app.js.br").write_bytes(b"brotli")
    (folder / "app.js.gz").write_bytes(gzip.compress(script))
    (folder / "index.html").write_text(SHELL)
    encodings = {"": "app.js", "br": "app.js.br", "gzip": "app.js.gz"}
    rows = {
        "/assets/app-12345678.js": {"type": "text/javascript", "etag": "a", "immutable": True, "encodings": encodings},
        "/index.html": {"type": "text/html", "etag": "b", "immutable": False, "encodings": {"": "index.html"}},
    }
    (folder / "manifest.json").write_text(json.dumps({"build": "x", "files": rows}))
    return folder


@pytest.fixture(scope="module")
def site(built: Path) -> Site:
    secure = headers.security(headers.policy("https://up.example", "https://cdn.example/photos"), https=True)
    return Site(files.load(built), KNOWN, BASE, secure)


async def ask(app: Any, path: str, method: str = "GET", **asked: str) -> tuple[int, dict[str, str], bytes]:
    sent: list[Mapping[str, Any]] = []

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in asked.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs, "query_string": b""}
    await app(scope, None, send)
    got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], got, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("", ""), ("gzip", "gzip"), ("br, gzip", "br"), ("gzip, br;q=0", "gzip"), ("identity", "")],
)
async def test_a_file_comes_in_the_smallest_encoding_that_is_taken(site: Site, accepted: str, encoding: str) -> None:
    status, got, body = await ask(site, "/assets/app-12345678.js", accept_encoding=accepted)
    assert (status, got.get("content-encoding", "")) == (200, encoding)
    assert got["cache-control"] == files.IMMUTABLE
    assert int(got["content-length"]) == len(body)


async def test_what_a_browser_has_is_not_sent_again(site: Site) -> None:
    for path in ("/assets/app-12345678.js", "/", "/rules/milk_carton"):
        _, first, _ = await ask(site, path, accept_encoding="gzip")
        status, got, body = await ask(site, path, accept_encoding="gzip", if_none_match=f'W/"x", {first["etag"]}')
        assert (status, body) == (304, b"")
        assert got["etag"] == first["etag"]
        assert (await ask(site, path, if_none_match=first["etag"]))[0] == 200, "another encoding is another body"


async def test_a_head_has_the_length_and_no_body(site: Site) -> None:
    _, got, body = await ask(site, "/rules", method="HEAD")
    assert int(got["content-length"]) > 1000
    assert body == b""


@pytest.mark.parametrize(
    "path", [*APP_PAGES, GUIDE + "0123", rules.SOURCES, "/rules", "/en/rules", "/rules/milk_carton", "/nothing"]
)
async def test_every_page_forbids_what_is_inline_or_of_others(site: Site, path: str) -> None:
    _, got, body = await ask(site, path)
    policy = dict(rule.split(" ", 1) for rule in got["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self' https://up.example https://cdn.example"
    assert "unsafe" not in got["content-security-policy"]
    assert got["x-content-type-options"] == "nosniff"
    assert got["strict-transport-security"].startswith("max-age=")
    assert not re.search(rb"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", body)


async def test_an_item_is_readable_without_a_script(site: Site) -> None:
    item = KNOWN.items["milk_carton"]
    status, got, body = await ask(site, "/rules/milk_carton")
    text = body.decode()
    assert (status, got["content-type"]) == (200, "text/html; charset=utf-8")
    assert f"<h1>{item.ko}</h1>" in text
    assert "<li>비우고 물로 헹구세요.</li>" in text
    assert f'<link rel="canonical" href="{BASE}/rules/milk_carton">' in text
    english = (await ask(site, "/en/rules/milk_carton"))[2].decode()
    assert '<html lang="en"' in english
    assert not re.search(
        "[가-힣]",
        re.sub(r'<p class="aliases">.*?</p>', "", english[english.index("<main") : english.index("<details")]),
    )


def test_every_item_has_a_page_with_steps_and_its_dangers_in_both_languages() -> None:
    for item in KNOWN.items.values():
        for lang in rules.LANGS:
            page = rules.item_page(KNOWN, item, lang)
            assert '<section class="steps">' in page.main, page.path
            assert "<script" not in page.main
    for name in ("lithium_battery", "fluorescent_lamp", "butane_can"):
        if name in KNOWN.items:
            assert '<section class="warning">' in rules.item_page(KNOWN, KNOWN.items[name], "ko").main


async def test_the_site_map_has_every_page_of_the_knowledge_base(site: Site) -> None:
    text = (await ask(site, "/sitemap.xml"))[2].decode()
    assert text.count("<loc>") == 2 * (len(KNOWN.items) + 1) + 1
    assert f"Sitemap: {BASE}/sitemap.xml" in (await ask(site, "/robots.txt"))[2].decode()


@pytest.mark.parametrize("path", ["/nothing", "/index.html", "/rules/nothing", "/assets/nothing.js"])
async def test_what_is_not_there_is_404(site: Site, path: str) -> None:
    assert (await ask(site, path))[0] == 404


async def test_only_reading_is_allowed(site: Site) -> None:
    status, got, body = await ask(site, "/", method="POST")
    assert (status, got["allow"], json.loads(body)["code"]) == (405, "GET, HEAD", "METHOD_NOT_ALLOWED")


def test_the_edge_leads_every_page_here_without_a_token(site: Site, built: Path) -> None:
    """The addresses are written three times, where each reader looks for them: they have to agree."""
    manifests = routing()
    (service,) = (doc for doc in manifests if doc.get("metadata", {}).get("name") == "web-vs")
    regexes = [match["uri"]["regex"] for match in service["spec"]["http"][0]["match"]]
    (policy,) = (doc for doc in manifests if doc.get("kind") == "AuthorizationPolicy")
    public = policy["spec"]["rules"][0]["to"][0]["operation"]["notPaths"]
    own = [file.name for file in (Path(__file__).parents[3] / "web/public").iterdir()]
    paths = [
        *APP_PAGES,
        GUIDE + "0123",
        *(f"/{name}" for name in own),
        rules.SOURCES,
        "/sw.js",
        "/robots.txt",
        "/sitemap.xml",
    ]
    for path in [*paths, "/assets/app-12345678.js", *rules.paths(KNOWN)]:
        assert any(re.fullmatch(regex, path) for regex in regexes), path
        assert any(path == one or (one.endswith("*") and path.startswith(one[:-1])) for one in public), path


def test_a_page_that_is_not_built_ends_the_process_except_in_a_local_stack(tmp_path: Path) -> None:
    given = {
        "public_url": BASE,
        "storage_public_endpoint": BASE,
        "cdn_base_url": BASE,
        "static_dir": tmp_path,
        "service_secret": "0123456789abcdefghijklmnopqrstuvwx",
    }
    with pytest.raises(SystemExit, match="make web"):
        app(WebSettings.model_validate({**given, "environment": "prod"}))
    app(WebSettings.model_validate({**given, "environment": "local"}))


@pytest.mark.parametrize(
    "tiles",
    ["tiles.example/{z}/{x}/{y}.png", "https://{s}.example/{z}/{x}/{y}.png", "https://a.example/{z}/{x}.png", "https:"],
)
def test_tiles_come_from_one_origin(tiles: str) -> None:
    with pytest.raises(ValueError, match="must"):
        _tiles(tiles)


async def test_the_map_gets_its_tiles_from_where_they_are_configured_and_nowhere_else(built: Path) -> None:
    given = {
        "public_url": BASE,
        "storage_public_endpoint": "https://up.example",
        "cdn_base_url": "https://cdn.example/photos",
        "static_dir": built,
        "service_secret": "0123456789abcdefghijklmnopqrstuvwx",
        "environment": "prod",
    }
    _, got, body = await ask(app(WebSettings.model_validate(given)), "/map")
    assert "img-src 'self' blob: data: https://cdn.example;" in got["content-security-policy"]
    assert b"eco2-map" not in body
    with_tiles = {**given, "map_tiles": "https://tiles.example/{z}/{x}/{y}.png?a=1&b", "map_credit": '"<b>'}
    _, got, body = await ask(app(WebSettings.model_validate(with_tiles)), "/map")
    assert "img-src 'self' blob: data: https://cdn.example https://tiles.example;" in got["content-security-policy"]
    assert b'<meta name="eco2-map-tiles" content="https://tiles.example/{z}/{x}/{y}.png?a=1&amp;b">' in body
    assert b'<meta name="eco2-map-credit" content="&quot;&lt;b&gt;">' in body


async def test_one_document_has_the_rules_of_every_item(site: Site) -> None:
    for lang, path in (("ko", "/rules/all"), ("en", "/en/rules/all")):
        status, _, body = await ask(site, path)
        text = body.decode()
        assert status == 200
        assert text.count('<article class="rule"') == len(KNOWN.items)
        assert f'data-page="{rules.item_path("milk_carton", "ko" if lang == "ko" else "en")}"' in text
        assert "noindex" in text
        assert f'<html lang="{lang}"' in text


async def test_a_local_stack_says_that_the_page_is_not_built() -> None:
    status, _, body = await ask(Site(None, KNOWN, BASE, []), "/")
    assert status == 503
    assert b"make web" in body
