"""When new scans are refused, and for how long: at the rate at which scans end, each user in turn."""

import uuid
from typing import cast

import pytest

from eco2.contracts.identity import guest_id
from eco2.core.errors import AppError
from eco2.messaging.broker import Publisher
from eco2.messaging.events import EventBus
from eco2.scan import admission
from eco2.scan.admission import Admission, BudgetSpent, TooBusy, TooManyGuests
from eco2.scan.limits import Rules
from eco2.scan.supply import Supply, in_words


class Queues(Publisher):
    """Waiting messages, as many as is said."""

    def __init__(self, depth: int = 0) -> None:
        self.waiting = depth

    async def depth(self, *_queues: str) -> int:
        return self.waiting


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(admission, "time", clock)
    return clock


def opened(queues: Queues, supply: Supply | None, **rules: object) -> Admission:
    async def told() -> Supply | None:
        return supply

    limits = Rules(**{"backlog": 2000, **rules})  # type: ignore[arg-type]
    return Admission(queues, limits, cast(EventBus, Memory()), told)


class Memory:
    async def fullness(self) -> float:
        return 0.0


def seconds(refused: AppError | None) -> int:
    assert refused is not None
    return int((refused.headers or {})["Retry-After"])


async def test_what_a_limited_provider_gets_done_in_a_minute_may_wait_and_no_more(clock: Clock) -> None:
    queues = Queues(239)
    gate = opened(queues, Supply(limit=4.0), longest_wait=60.0)
    assert await gate.refusal(uuid.uuid4()) is None
    gate.admitted(uuid.uuid4())
    refused = await gate.refusal(uuid.uuid4())
    assert isinstance(refused, TooBusy), "also before the queues are looked at again"
    assert "초당 4장" in refused.message
    queues.waiting, clock.now = 100, clock.now + 1
    assert await gate.refusal(uuid.uuid4()) is None
    queues.waiting, clock.now = 240, clock.now + 1
    assert await opened(queues, Supply(scans_per_second=4.0)).refusal(uuid.uuid4()) is None, "nothing limits them"


async def test_those_who_are_refused_are_told_to_come_at_the_rate_at_which_scans_end(clock: Clock) -> None:
    gate = opened(Queues(300), Supply(limit=4.0), longest_wait=60.0)
    waits = [seconds(await gate.refusal(uuid.uuid4())) for _ in range(100)]
    assert waits == sorted(waits)
    assert waits[0] == 16, "(300 - 240) / 4, and one turn more"
    assert waits[-1] == 40
    user = uuid.uuid4()
    asked = [seconds(await gate.refusal(user)) for _ in range(50)]
    assert set(asked) == {41}, "asking more often is not served better, and pushes nobody back"
    assert seconds(await gate.refusal(uuid.uuid4())) == 41


async def test_who_comes_at_the_time_that_was_told_is_let_in_once(clock: Clock) -> None:
    queues, user = Queues(300), uuid.uuid4()
    gate = opened(queues, Supply(limit=4.0), longest_wait=60.0)
    clock.now += seconds(await gate.refusal(user))
    assert await gate.refusal(uuid.uuid4()) is not None, "others have not waited"
    assert await gate.refusal(user) is None
    gate.admitted(user)
    assert await gate.refusal(user) is not None


async def test_the_backlog_of_all_is_past_no_promise(clock: Clock) -> None:
    user = uuid.uuid4()
    gate = opened(Queues(2000), Supply(scans_per_second=50.0))
    clock.now += seconds(await gate.refusal(user))
    assert isinstance(await gate.refusal(user), TooBusy)


async def test_promises_of_those_who_never_came_back_hold_up_nobody(clock: Clock) -> None:
    queues = Queues(300)
    gate = opened(queues, Supply(limit=4.0), longest_wait=60.0)
    for _ in range(1000):
        await gate.refusal(uuid.uuid4())
    queues.waiting, clock.now = 50, clock.now + 60
    assert await gate.refusal(uuid.uuid4()) is None
    queues.waiting, clock.now = 300, clock.now + 1
    assert seconds(await gate.refusal(uuid.uuid4())) < 20


@pytest.mark.parametrize("supply", [None, Supply()])
async def test_without_a_rate_the_answer_is_ten_seconds(clock: Clock, supply: Supply | None) -> None:
    gate = opened(Queues(2000), supply)
    assert seconds(await gate.refusal(uuid.uuid4())) == 10


async def test_a_spent_budget_refuses_nobody_unless_that_is_wanted(clock: Clock) -> None:
    spent = Supply(budget_usd=20, spent_usd=19.99, budget_spent=True)
    assert await opened(Queues(), spent).refusal(uuid.uuid4()) is None
    refused = await opened(Queues(), spent, without_budget=False).refusal(uuid.uuid4())
    assert isinstance(refused, BudgetSpent)
    assert 1 <= seconds(refused) <= 86_400
    assert "20 USD" in refused.message


def test_an_operator_reads_who_looks_what_it_cost_and_what_limits_it() -> None:
    assert in_words(None).startswith("nobody")
    assert in_words(Supply()).startswith("the embedded model")
    paid = Supply(model="gpt-5.2", budget_usd=20, spent_usd=0.4213)
    assert in_words(paid) == "gpt-5.2, 0.42 of 20 USD spent today (UTC)"
    assert "4.2 scans a second" in in_words(paid.model_copy(update={"limit": 4.2}))
    assert "until midnight" in in_words(paid.model_copy(update={"budget_spent": True}))
    assert "left alone" in in_words(paid.model_copy(update={"resting": True}))
    stopped = in_words(paid.model_copy(update={"stopped": "the bill"}))
    assert stopped == "the embedded model: gpt-5.2 is stopped (the bill; `eco2 llm start`)"
    assert "no budget" in in_words(paid.model_copy(update={"budget_usd": None}))


def test_workers_are_told_of_together() -> None:
    one, other = Supply(at=1, limit=2, spent_usd=3), Supply(at=2, limit=3, scans_per_second=1, budget_usd=20)
    assert Supply.of_all([]) is None
    both = Supply.of_all([one, other])
    assert both is not None
    assert (both.limit, both.spent_usd, both.budget_usd, both.scans_per_second) == (5, 3, 20, 1)
    free = Supply.of_all([one, Supply(at=3)])
    assert free is not None
    assert free.limit is None, "one of them is not limited"


async def test_guests_have_a_fifth_of_the_backlog_and_others_the_rest(clock: Clock) -> None:
    open_jobs = 399

    async def counted() -> int:
        return open_jobs

    gate = Admission(Queues(500), Rules(2000), cast(EventBus, Memory()), told, counted)
    guest, member = guest_id(uuid.uuid4()), uuid.uuid4()
    assert await gate.refusal(guest) is None
    gate.admitted(guest)
    refused = await gate.refusal(guest_id(uuid.uuid4()))
    assert isinstance(refused, TooManyGuests)
    assert seconds(refused) == 10
    assert await gate.refusal(member) is None
    clock.now += 2
    open_jobs = 300
    assert await gate.refusal(guest) is None


async def told() -> Supply | None:
    return None
