"""A counter of spending in Redis, shared by processes: billed costs, and leases of costs that may be billed yet.

Beside the counter lies a hash of leases, one for each process that holds something and one for each hold whose outcome
is unknown. The counter is always the sum of the costs and the leases. A process renews its lease with every change; one
that died lets it run out, and of what has run out only the usual cost of such calls stays counted.
"""

import asyncio
from itertools import count
from uuid import uuid4

from redis.asyncio import Redis

LEASE_SECONDS = 600
"""More than the longest call with its retries."""
TTL_SECONDS = 3 * 24 * 3600
TRIP_SECONDS = 2.0
"""Longest wait for the counter."""
AGAIN_SECONDS = 30
"""Time for which a trip that is over is known; longer than the client repeats it."""

# One trip for all accounts that have something to tell: two keys and ten arguments each. `held` is what the process
# holds more than it told before, or, with `whole`, all that it holds: after a trip whose end was not seen. A trip is
# named by its last key: sent again, as its answer was lost, it changes nothing more.
_SETTLE = """
local trip, answers, taken = KEYS[#KEYS], {}, {}
local again = redis.call('GET', trip)
if again then
  for amount in string.gmatch(again, '%d+') do
    local counter = KEYS[#answers + 1]
    answers[#answers + 1] = tonumber(redis.call('GET', counter) or 0)
    answers[#answers + 1] = tonumber(amount)
  end
  return answers
end
local me, now = ARGV[1], tonumber(redis.call('TIME')[1])
local ends = now + tonumber(ARGV[2])

local function settle(counter, leases_key, at)
  local held, kept, cost = tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3])
  local asked, spare, cap = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local lost, lost_amount, lost_kept = ARGV[at + 7], tonumber(ARGV[at + 8]), ARGV[at + 9]
  local known = redis.call('GET', counter)
  local spent, change, mine, before = tonumber(known or 0), cost, 0, 0
  local leases = redis.call('HGETALL', leases_key)
  for i = 1, #leases, 2 do
    local amount, usual, until_ = string.match(leases[i + 1], '(%d+) (%d+) (%d+)')
    if not amount then
      redis.call('HDEL', leases_key, leases[i])
    elseif leases[i] == me then
      mine = tonumber(amount)
    elseif leases[i] == lost then
      before = tonumber(amount)
    elseif tonumber(until_) <= now then
      change = change - amount + usual
      redis.call('HDEL', leases_key, leases[i])
    end
  end
  if lost_amount > 0 then
    change = change + lost_amount - before
    redis.call('HSET', leases_key, lost, lost_amount .. ' ' .. lost_kept .. ' ' .. ends)
  end
  if ARGV[at + 10] == '0' then held = math.max(0, mine + held) end
  change = change + held - mine
  local taken = 0
  if asked > 0 and spent + change + asked <= cap then taken = math.min(asked + spare, cap - spent - change) end
  spent = redis.call('INCRBY', counter, change + taken)
  if not known then redis.call('EXPIRE', counter, ARGV[3]) end
  if held + taken > 0 then
    redis.call('HSET', leases_key, me, (held + taken) .. ' ' .. kept .. ' ' .. ends)
  elseif mine > 0 then
    redis.call('HDEL', leases_key, me)
  end
  if mine == 0 then redis.call('EXPIRE', leases_key, ARGV[3]) end
  return spent, taken
end

for n = 1, #KEYS - 1, 2 do
  answers[n], answers[n + 1] = settle(KEYS[n], KEYS[n + 1], 4 + 5 * (n - 1))
  taken[#taken + 1] = answers[n + 1]
end
redis.call('SET', trip, table.concat(taken, ' '), 'EX', ARGV[4])
return answers
"""


def leases_key(key: str) -> str:
    return f"{key}:leases"


class Ledger:
    """The accounts of one process."""

    def __init__(self, redis: Redis) -> None:
        self._script = redis.register_script(_SETTLE)
        self._me = uuid4().hex
        self._trips = count()
        self._accounts: dict[str, Account] = {}
        self._waiting: list[tuple[str, tuple[int | str, ...], asyncio.Future[tuple[int, int]]]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self.usual = 0.25
        """Part of the held amount that recent calls really cost."""

    def account(self, key: str) -> "Account":
        found = self._accounts.get(key)
        if found is None:
            found = self._accounts[key] = Account(self, key)
        return found

    def learn(self, amount: int, cost: int) -> None:
        if amount and cost:
            self.usual += (min(1.0, cost / amount) - self.usual) * 0.05

    async def run(self, key: str, *arguments: int | str) -> tuple[int, int]:
        """(counter, taken). What is asked for in one turn of the loop goes in one trip.

        RedisError, OSError, TimeoutError. One that is cancelled may have been told all the same."""
        answered: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, arguments, answered))
        if len(self._waiting) == 1:
            task = asyncio.create_task(self._go())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return await answered

    async def _go(self) -> None:
        asked, self._waiting = self._waiting, []
        keys = [part for key, _, _ in asked for part in (key, leases_key(key))]
        keys.append(f"{asked[0][0]}:trip:{self._me}:{next(self._trips)}")
        args: list[int | str] = [self._me, LEASE_SECONDS, TTL_SECONDS, AGAIN_SECONDS]
        args += [argument for _, arguments, _ in asked for argument in arguments]
        try:
            async with asyncio.timeout(TRIP_SECONDS):
                told = await self._script(keys=keys, args=args)
        except BaseException as error:
            for _, _, answered in asked:
                if not answered.done():
                    answered.set_exception(error) if isinstance(error, Exception) else answered.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for n, (_, _, answered) in enumerate(asked):
            if not answered.done():
                answered.set_result((int(told[2 * n]), int(told[2 * n + 1])))

    def dirty(self) -> list["Account"]:
        return [one for one in self._accounts.values() if not one.clean]

    def forget(self, account: "Account") -> None:
        self._accounts.pop(account.key, None)


class Account:
    """One counter as this process sees it. `held`: for its open calls, and its pocket."""

    def __init__(self, ledger: Ledger, key: str) -> None:
        self._ledger, self.key = ledger, key
        self.held = 0
        self._told = 0
        """Held as the counter knows it, once the trips under way are over."""
        self._told_at: float | None = None
        self._cost = 0
        self._lost = 0
        self._lost_id = ""
        self._unsure = False
        """The end of a trip was not seen: its report may not have arrived."""
        self._trips = 0

    @property
    def clean(self) -> bool:
        return not (self._cost or self._lost or self._unsure) and self._told == self.held

    @property
    def stale(self) -> bool:
        """True if the lease may have run out: other processes may have taken its amount."""
        told = self._told_at
        return told is not None and asyncio.get_running_loop().time() - told > LEASE_SECONDS / 2

    def pay(self, held: int, cost: int) -> None:
        """Replace the held amount by the cost, with the next trip."""
        self.held -= held
        self._cost += cost

    def lose(self, held: int) -> None:
        """Move the held amount to a lease of its own: its call may have been billed."""
        self.held -= held
        self._lost += held
        self._lost_id = self._lost_id or uuid4().hex

    async def settle(self, asked: int = 0, spare: int = 0, cap: int = 0) -> tuple[int, int]:
        """(counter, taken): tell everything that changed; of `asked` and, where that is free as well, `spare` more
        under the cap all is taken, or nothing.

        RedisError, OSError, TimeoutError: the next trip tells it again."""
        whole = not self._trips and (self._unsure or self.stale)
        change = self.held if whole else self.held - self._told
        kept, lost_kept = (round(self._ledger.usual * amount) for amount in (self.held + asked, self._lost))
        cost, lost, lost_id = self._cost, self._lost, self._lost_id
        self._told, self._cost, self._lost, self._lost_id = self.held, 0, 0, ""
        self._unsure = self._unsure and not whole
        self._trips += 1
        done = False
        try:
            given = (change, kept, cost, asked, spare, cap, lost_id, lost, lost_kept)
            spent, taken = await self._ledger.run(self.key, *given, int(whole))
            done = True
        finally:
            self._trips -= 1
            if not done:
                self._again(cost, lost, lost_id)
        self.held += taken
        self._told += taken
        self._told_at = asyncio.get_running_loop().time()
        if self.clean and not self.held and not self._trips:
            self._ledger.forget(self)
        return spent, taken

    def _again(self, cost: int, lost: int, lost_id: str) -> None:
        """Keep amounts that may not have been reported. A cost may then be counted twice, but is never missed."""
        self._unsure = True
        self._cost += cost
        if lost:
            self._lost += lost
            self._lost_id = self._lost_id or lost_id
