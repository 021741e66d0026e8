"""Settings of paid language models: providers, keys, prices, limits and the daily budget."""

from datetime import timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from eco2.core.settings import Duration, SettingsGroup

OPENAI_URL = "https://api.openai.com/v1"
CLIENT_MODELS = (
    "gpt-5.2",
    "gpt-5.2-pro",
    "gpt-5.1",
    "gpt-5",
    "gpt-5-pro",
    "gpt-5-mini",
    "gemini-3-pro-preview",
    "gemini-3-flash-preview",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.0-flash",
    "gemini-2.0-flash-lite",
)
"""Models that clients of the API may name."""


class Price(NamedTuple):
    """USD per million tokens, and per call beside them; in JSON `[input, output]` or `[input, output, call]`."""

    input: float
    output: float
    call: float = 0.0


class Endpoint(BaseModel):
    """A provider. `models` are names or patterns (`gemini-*`); `options` go into every request body."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    api_key: str
    models: tuple[str, ...]
    options: dict[str, Any] = {}


# A starting point for the budget, from the providers' public lists; check them against your contract.
DEFAULT_PRICES = {
    "gpt-5.2": Price(1.75, 14),
    "gpt-5.2-pro": Price(21, 168),
    "gpt-5.1": Price(1.25, 10),
    "gpt-5": Price(1.25, 10),
    "gpt-5-pro": Price(15, 120),
    "gpt-5-mini": Price(0.25, 2),
    "gpt-5-search-api": Price(1.25, 10, 0.01),
    "gpt-image-1": Price(5, 40),
    "gpt-image-1-mini": Price(2, 8),
    "gemini-3-pro-preview": Price(2, 12),
    "gemini-3-flash-preview": Price(0.5, 3),
    "gemini-2.5-pro": Price(1.25, 10),
    "gemini-2.5-flash": Price(0.3, 2.5),
    "gemini-2.5-flash-lite": Price(0.1, 0.4),
    "gemini-2.0-flash": Price(0.1, 0.4),
    "gemini-2.0-flash-lite": Price(0.075, 0.3),
}


def _none(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


class LlmSettings(SettingsGroup):
    llm_enabled: bool = True
    """False makes every call of the process fail at once. `eco2 llm stop` does that to all, without a restart."""
    llm_api_key: Annotated[str | None, BeforeValidator(lambda value: value or None)] = None
    """Without it, and without `llm_providers`, there is no LLM."""
    llm_base_url: str = OPENAI_URL
    llm_models: tuple[str, ...] = ()
    """Models (names or patterns) of the provider at `llm_base_url`; empty: gpt-* at OpenAI, any elsewhere."""
    llm_options: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request body to it, such as `{"reasoning_effort": "low"}`."""
    llm_providers: dict[str, Endpoint] = Field(default_factory=dict)
    """Further providers by name, asked for a model before the default one."""
    llm_default_model: str = "gpt-5.2"
    llm_concurrency: int = Field(default=256, ge=1)
    """Calls at once per provider and process."""
    llm_requests_per_minute: int | None = Field(default=None, ge=1)
    """Calls begun per provider and process, at most a second's worth of them at once. Without it as many as come, until
    the provider refuses one."""
    llm_timeout: Duration = timedelta(seconds=20)
    """Of one attempt."""
    llm_deadline: Duration = timedelta(seconds=45)
    """Of a call with its waits and retries; below the time limit of the stage that makes it."""
    llm_reply_deadline: Duration = timedelta(seconds=120)
    """The same of a reply that is streamed; each wait for a piece of it has `llm_timeout`."""
    llm_image_timeout: Duration = timedelta(seconds=100)
    """Of a picture, for which one attempt is made: a second one could be paid for as well."""
    llm_breaker_failures: int = Field(default=8, ge=1)
    """Attempts in a row that time out, break or end in a 5xx, after which a provider is left alone."""
    llm_breaker_pause: Duration = timedelta(seconds=30)
    """For how long; then one call tries it."""
    llm_max_attempts: int = Field(default=4, ge=1)
    llm_max_output_tokens: int = Field(default=4096, ge=1)
    """Thinking included."""
    llm_daily_budget_usd: Annotated[float | None, BeforeValidator(_none)] = Field(default=20, ge=0)
    """Of all processes together, per day (UTC); `none` for no limit."""
    llm_user_share: float = Field(default=0.1, gt=0, le=1)
    """Part of the day's budget that one user may spend, of scans, questions and chats together; then they are answered
    without the paid model, as all users are when the day's budget is spent. 1: no user is limited."""
    llm_guest_share: float = Field(default=0.2, gt=0, le=1)
    """The same of all guests together."""
    llm_prices: dict[str, Price] = Field(default_factory=dict)
    """Laid over DEFAULT_PRICES, and `eco2 llm price` over both without a restart. A model without a price counts as the
    dearest one; give your own models `[0, 0]`."""

    def endpoints(self) -> dict[str, Endpoint]:
        """Every provider by name, in the order in which they are asked for a model."""
        if self.llm_api_key is None:
            return dict(self.llm_providers)
        models = self.llm_models or (("gpt-*",) if self.llm_base_url == OPENAI_URL else ("*",))
        url, key = self.llm_base_url, self.llm_api_key
        default = Endpoint(base_url=url, api_key=key, models=models, options=self.llm_options)
        return {**self.llm_providers, "default": default}

    def price(self, model: str) -> Price:
        prices = DEFAULT_PRICES | self.llm_prices
        return prices.get(model) or max(prices.values(), key=lambda price: price.output)
