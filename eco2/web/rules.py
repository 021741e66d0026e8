"""Pages of the knowledge base as text, for search engines and browsers without scripts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from eco2.knowledge import Item, Knowledge, Lang
from eco2.knowledge.answer import advise, drop_offs, listed, localized
from eco2.knowledge.words.text import topic

SOURCES = "/about/sources"
LANGS: tuple[Lang, ...] = ("ko", "en")
SITE = {"ko": "이코에코 Eco²", "en": "Eco²"}
SAYS: Mapping[str, Mapping[str, str]] = {
    "ko": {
        "title": "{} 버리는 법",
        "summary": "{} 어떻게 버릴까요? 배출 방법: {}. 순서대로 알려 드려요.",
        "rules": "분리배출 찾아보기",
        "rules_summary": "물건 {}가지를 어떻게 버리는지 이름으로 찾아보세요.",
        "goes": "배출 방법",
        "steps": "이렇게 버려요",
        "warn": "꼭 지켜 주세요",
        "dont": "하지 마세요",
        "exceptions": "이럴 때는 달라요",
        "places": "가져갈 수 있는 곳",
        "aliases": "다른 이름",
        "sources": "근거",
        "back": "전체 목록",
        "all": "모든 물건의 규칙",
    },
    "en": {
        "title": "How to throw away: {}",
        "summary": "How to throw away {} in Korea: {}, step by step.",
        "rules": "Look up an item",
        "rules_summary": "Find how to sort {} things in Korea by name.",
        "goes": "Where it goes",
        "steps": "Step by step",
        "warn": "Mind your safety",
        "dont": "Do not",
        "exceptions": "When it is different",
        "places": "Where you can take it",
        "aliases": "Also called",
        "sources": "Sources",
        "back": "All items",
        "all": "The rules of every item",
    },
}


@dataclass(frozen=True)
class Page:
    """`main` goes into the page's container; the rest into its head."""

    lang: Lang
    path: str
    title: str
    description: str
    main: str
    alternates: Mapping[Lang, str]


def item_path(item_id: str, lang: Lang) -> str:
    return f"{'/en' if lang == 'en' else ''}/rules/{quote(item_id)}"


def all_path(lang: Lang) -> str:
    return f"{index_path(lang)}/all"


def index_path(lang: Lang) -> str:
    return "/en/rules" if lang == "en" else "/rules"


def paths(knowledge: Knowledge) -> Iterator[str]:
    """Every page there is of the knowledge base, for the site map."""
    for lang in LANGS:
        yield index_path(lang)
        yield from (item_path(name, lang) for name in knowledge.items)


def item_page(knowledge: Knowledge, item: Item, lang: Lang) -> Page:
    says = SAYS[lang]
    name, stream = localized(item, "", lang), knowledge.stream(item.stream)
    where = localized(stream, "", lang)
    return Page(
        lang=lang,
        path=item_path(item.id, lang),
        title=says["title"].format(name),
        description=says["summary"].format(topic(name) if lang == "ko" else name, where),
        main=f'<main id="main">{_article(knowledge, item, lang)}</main>',
        alternates={one: item_path(item.id, one) for one in LANGS},
    )


def all_page(knowledge: Knowledge, lang: Lang) -> Page:
    """Every item's rules in one document: the copy that browsers keep for when they are offline."""
    says = SAYS[lang]
    articles = "".join(_article(knowledge, item, lang) for item in knowledge.items.values())
    return Page(
        lang=lang,
        path=all_path(lang),
        title=says["all"],
        description=says["rules_summary"].format(len(knowledge.items)),
        main=f'<main id="main"><article data-page="{all_path(lang)}">{articles}</article></main>',
        alternates={one: all_path(one) for one in LANGS},
    )


def _article(knowledge: Knowledge, item: Item, lang: Lang) -> str:
    parts = (_heading, _advice, _background)
    text = "".join(text for part in parts for text in part(knowledge, item, lang))
    return f'<article class="rule" data-page="{item_path(item.id, lang)}">{text}</article>'


def _heading(knowledge: Knowledge, item: Item, lang: Lang) -> Iterator[str]:
    says, stream = SAYS[lang], knowledge.stream(item.stream)
    aliases = listed(item, "aliases", lang) if lang == "en" else item.aliases
    yield f'<p class="crumb"><a href="{index_path(lang)}">{says["back"]}</a></p>'
    yield f"<h1>{escape(localized(item, '', lang))}</h1>"
    goes = f"<span>{says['goes']}</span> <b>{escape(localized(stream, '', lang))}</b>"
    yield f'<p class="stream stream-{stream.kind}">{goes}</p>'
    if aliases:
        yield f'<p class="aliases">{says["aliases"]}: {escape(", ".join(aliases))}</p>'


def _advice(knowledge: Knowledge, item: Item, lang: Lang) -> Iterator[str]:
    says, advice = SAYS[lang], advise(knowledge, item, (), lang)
    if advice.warnings:
        yield _listing("section", "warning", says["warn"], (say.text for say in advice.warnings))
    yield _listing("section", "steps", says["steps"], [*advice.steps, *filter(None, [advice.note])], numbered=True)
    warned = {say.text for say in advice.warnings}
    yield _listing("section", "donts", says["dont"], [text for text in advice.donts if text not in warned])
    yield _listing("section", "exceptions", says["exceptions"], [localized(one, "", lang) for one in advice.exceptions])


def _background(knowledge: Knowledge, item: Item, lang: Lang) -> Iterator[str]:
    says = SAYS[lang]
    places = [localized(place, "where", lang) for place in drop_offs(knowledge, item, item.stream)]
    yield _listing("section", "places", says["places"], places)
    names = dict.fromkeys((*item.sources, *knowledge.rule(item.stream).sources))
    sources = [knowledge.sources[name] for name in names if name in knowledge.sources]
    rows = [f"{one.publisher}, {one.title} ({one.date})" for one in sources]
    if rows:
        listed_ = "".join(f"<li>{escape(row)}</li>" for row in rows)
        yield f'<details class="sources"><summary>{says["sources"]}</summary><ul>{listed_}</ul></details>'


def _listing(tag: str, css: str, heading: str, texts: Iterable[str], *, numbered: bool = False) -> str:
    rows = "".join(f"<li>{escape(text)}</li>" for text in texts if text)
    kind = "ol" if numbered else "ul"
    return f'<{tag} class="{css}"><h2>{heading}</h2><{kind}>{rows}</{kind}></{tag}>' if rows else ""


def index_page(knowledge: Knowledge, lang: Lang) -> Page:
    """Every item with a link, by its group."""
    says = SAYS[lang]
    groups = []
    for group in knowledge.taxonomy.groups:
        links = "".join(
            f'<li><a href="{item_path(item.id, lang)}">{escape(localized(item, "", lang))}</a></li>'
            for item in group.items
        )
        groups.append(f"<section><h2>{escape(localized(group, '', lang))}</h2><ul>{links}</ul></section>")
    body = f'<article class="catalogue" data-page="{index_path(lang)}">{"".join(groups)}</article>'
    return Page(
        lang=lang,
        path=index_path(lang),
        title=says["rules"],
        description=says["rules_summary"].format(len(knowledge.items)),
        main=f'<main id="main"><h1>{says["rules"]}</h1>{body}</main>',
        alternates={one: index_path(one) for one in LANGS},
    )


def sources_page(knowledge: Knowledge) -> Page:
    """Sources of the facts: institution, title and date of every source."""
    rows = sorted(knowledge.sources.values(), key=lambda one: (one.publisher, one.title))
    cells = "".join(
        f"<li><b>{escape(one.publisher)}</b> {_linked(one.title, one.url)} ({one.date})</li>" for one in rows
    )
    note = "문장은 모두 이 서비스가 새로 썼고, 아래 기관이 이 서비스를 후원하거나 보증하지는 않아요."
    body = f"<h2>자료의 출처</h2><p>{note}</p><ul>{cells}</ul>"
    main = f'<main id="main"><article class="card" lang="ko" data-page="{SOURCES}">{body}</article></main>'
    return Page("ko", SOURCES, "자료의 출처", "분리배출 규칙의 근거가 된 자료", main, {"ko": SOURCES})


def _linked(title: str, url: str) -> str:
    return f'<a href="{escape(url)}" rel="noreferrer">{escape(title)}</a>' if url else escape(title)


def head(page: Page, base: str) -> str:
    """Tags of <head> besides those of the shell."""
    links = "".join(
        f'<link rel="alternate" hreflang="{lang}" href="{base}{path}">' for lang, path in page.alternates.items()
    )
    title, description = escape(f"{page.title} | {SITE[page.lang]}"), escape(page.description)
    return (
        f'<title>{title}</title><meta name="description" content="{description}">'
        f'<meta property="og:title" content="{title}"><meta property="og:description" content="{description}">'
        f'<link rel="canonical" href="{base}{page.path}">{links}'
    )
