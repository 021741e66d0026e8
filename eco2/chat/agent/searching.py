"""Web search by a paid model that supports it; its words and the titles of its pages are filtered as own words."""

import logging
from collections.abc import Sequence
from urllib.parse import urlsplit

from eco2.chat.agent.prompts import prompt
from eco2.chat.agent.state import Context, Intent, Json, Part, Question, State
from eco2.chat.agent.texts import say
from eco2.chat.agent.understanding import SEARCH
from eco2.llm.streaming import Page
from eco2.llm.wire import LlmFailed

MOST_TOKENS = 700
MOST_PAGES = 5
LONGEST_URL, LONGEST_TITLE = 300, 120
LONGEST_BEFORE = 200

log = logging.getLogger(__name__)


async def web_search(state: State, context: Context) -> Part:
    """Sentences of the model that tell nothing about waste, and the pages that it names. Nothing goes out but the
    message, and the search that it goes on from."""
    lang, model = state["understood"].lang, context.search_model
    if context.llm is None or not model or not context.llm.serves(model):
        return Part(Intent.WEB_SEARCH, say("web_search", lang))
    alone = state["understood"].intents == (Intent.WEB_SEARCH,)
    messages = [
        {"role": "system", "content": prompt("web_search")},
        {"role": "user", "content": words_of(state["question"])},
    ]
    memory: Json = {"searched": words_of(state["question"])}
    pages: Sequence[Page] = ()
    try:
        async with context.own_words.only(context.say if alone else _silent) as sieve:
            reply = await context.llm.reply(
                model,
                messages,
                sieve.take,
                most_tokens=MOST_TOKENS,
                search=True,
                job=context.job_id,
                purpose="chat_web_search",
            )
            pages = reply.pages
    except LlmFailed as error:
        log.warning("nothing, or not all, was looked up: %s", error)
        if not sieve.passed.strip():
            return Part(Intent.WEB_SEARCH, say("away", lang), memory)
    found = [(title, url) for page in pages if (url := shown_url(page.url)) and (title := _title(context, page, url))]
    lines = [f"· {title} – {url}" for title, url in found[:MOST_PAGES]]
    if lines:
        lines.insert(0, say("web_pages", lang))
    words = sieve.passed.strip()
    if not words and not lines:
        return Part(Intent.WEB_SEARCH, say("web_nothing", lang), memory)
    rest = "\n".join(lines)
    text = "\n\n".join(filter(None, [words, rest]))
    if alone and words and rest:
        await context.say(f"\n\n{rest}")
    data: Json = {"pages": [{"title": title, "url": url} for title, url in found[:MOST_PAGES]]}
    return Part(Intent.WEB_SEARCH, text, memory, data, said=alone and bool(words))


def words_of(question: Question) -> str:
    """The words to look up. A few that go on from a search ("of this year") come after those of the search."""
    text, before = question.text, question.memory.searched
    return f"{before[:LONGEST_BEFORE]}\n{text}" if before and not SEARCH.search(text) else text


async def _silent(_: str) -> None:
    return


def shown_url(url: str) -> str:
    """The address as it is shown; "" for one that is not: it is data of a third party."""
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or set(url) & set(" <>\"'`()[]"):
        return ""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "https" or "." not in host or parts.username is not None or parts.port is not None:
            return ""
    except ValueError:
        return ""
    return url


def _title(context: Context, page: Page, url: str) -> str:
    """The title where it tells nothing about waste, else the host."""
    title = " ".join(page.title.split())[:LONGEST_TITLE]
    return title if title and title.isprintable() and context.own_words.allowed(title) else urlsplit(url).netloc
