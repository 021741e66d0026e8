"""Announcement of the paid model when a process starts."""

from urllib.parse import urlsplit

from redis.exceptions import RedisError

from eco2.llm.calls import Llm
from eco2.llm.settings import LlmSettings


async def described(settings: LlmSettings, llm: Llm | None, otherwise: str) -> str:
    """A line for the log: model, provider, the day's budget, and the behaviour once it is spent (`otherwise`)."""
    model = settings.llm_default_model
    if llm is None or not llm.serves(model):
        return f"no paid model: {otherwise}"
    host = urlsplit(llm.address_of(model)).netloc
    cap = settings.llm_daily_budget_usd
    if cap is None:
        return f"paid model {model} at {host}, without a budget (ECO2_LLM_DAILY_BUDGET_USD)"
    spent = f"{await _spent(llm)} of {cap:g} USD spent today (UTC, ECO2_LLM_DAILY_BUDGET_USD)"
    return f"paid model {model} at {host}: {spent}; when that is spent, {otherwise}"


async def _spent(llm: Llm) -> str:
    try:
        return f"{(await llm.budget.look()).spent / 1e6:.2f}"
    except (RedisError, OSError):
        return "an unknown part"
