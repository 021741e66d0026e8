"""A picture that a paid model draws from the user's words. Only these words and a fixed frame are sent."""

import logging

from eco2.chat.agent.prompts import prompt
from eco2.chat.agent.state import Context, Intent, Json, Part, Question, State
from eco2.chat.agent.texts import say
from eco2.chat.agent.understanding import DRAW
from eco2.llm.wire import LlmFailed

LONGEST_WORDS = 500

log = logging.getLogger(__name__)


async def image_generation(state: State, context: Context) -> Part:
    """The picture of this message, drawn once, or a sentence that says why there is none."""
    lang, model = state["understood"].lang, context.image_model
    if context.pictures is None or context.llm is None or not model or not context.llm.serves(model):
        return Part(Intent.IMAGE_GENERATION, say("image_generation", lang))
    words = words_of(state["question"])
    memory: Json = {"picture": words}
    try:
        key = await context.pictures.find()
        if not key:
            framed = prompt("image_generation").replace("{words}", words)
            drawn = await context.llm.draw(model, framed, job=context.job_id, purpose="chat_image_generation")
            key = await context.pictures.keep(drawn)
    except LlmFailed as error:
        log.warning("nothing was drawn: %s", error)
        told = {"refused": "picture_refused", "user_share_spent": "picture_spent", "budget_spent": "picture_spent"}
        return Part(Intent.IMAGE_GENERATION, say(told.get(error.reason, "picture_away"), lang), memory)
    return Part(Intent.IMAGE_GENERATION, say("picture", lang), memory, {"generated": True}, image_key=key)


def words_of(question: Question) -> str:
    """The words to draw. A few that go on from a picture ("cuter") come after those of the picture."""
    text, before = question.text, question.memory.picture
    if before and not DRAW.search(text):
        return f"{before[: LONGEST_WORDS // 2]}\n{text}"[:LONGEST_WORDS]
    return text[:LONGEST_WORDS]
