import asyncio

import pytest

from eco2.photos.turns import Turns


class Visitor:
    """One turn, held until `leave`."""

    def __init__(self, turns: Turns, user: str, order: list[str]) -> None:
        self._leaving = asyncio.Event()
        self.task = asyncio.create_task(self._visit(turns, user, order))

    async def _visit(self, turns: Turns, user: str, order: list[str]) -> None:
        async with turns.turn(user):
            order.append(user)
            await self._leaving.wait()

    async def leave(self) -> None:
        self._leaving.set()
        await self.task
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def arrive(turns: Turns, users: str, order: list[str]) -> list[Visitor]:
    visitors = [Visitor(turns, user, order) for user in users]
    await asyncio.sleep(0)
    return visitors


async def test_one_user_leaves_a_turn_to_others() -> None:
    order: list[str] = []
    visitors = await arrive(Turns(3), "aaaab", order)
    assert order == ["a", "a", "b"]
    for visitor in visitors:
        await visitor.leave()
    assert order == ["a", "a", "b", "a", "a"]


async def test_where_there_is_one_turn_users_alternate() -> None:
    order: list[str] = []
    visitors = await arrive(Turns(1), "aaabbc", order)
    for visitor in (visitors[n] for n in (0, 1, 3, 5, 2, 4)):
        await visitor.leave()
    assert order == ["a", "a", "b", "c", "a", "b"]


async def test_a_user_at_the_limit_does_not_hold_up_those_behind() -> None:
    order: list[str] = []
    visitors = await arrive(Turns(2), "aab", order)
    assert order == ["a", "b"]
    await visitors[2].leave()
    assert order == ["a", "b"], "the free turn is for others"
    await visitors[0].leave()
    await visitors[1].leave()
    assert order == ["a", "b", "a"]


@pytest.mark.parametrize("granted", [False, True])
async def test_who_stops_waiting_takes_no_turn_along(granted: bool) -> None:
    order: list[str] = []
    turns = Turns(1)
    first, second, third = await arrive(turns, "abc", order)
    if granted:  # cancelled in the moment in which its turn comes
        first._leaving.set()
        await asyncio.sleep(0)
    second.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second.task
    await first.leave()
    assert order == ["a", "c"]
    await third.leave()
    await (await arrive(turns, "a", order))[0].leave()
    assert order == ["a", "c", "a"]
