"""Counters in Valkey or Redis, shared by all processes on all machines.

A counter is a hash of its amount `n` and its window's end `e`, which the service's clock decides. The server only
forgets: its time to live is relative and longer, so a clock a minute away from ours ends no window early.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from watchword.storage.ephemeral import Counted, Exhausted, Quota, Reservation
from watchword.storage.valkey import Valkey

SLACK = 300
"""Seconds for which the server keeps a counter that has ended."""

# A script runs alone on the server: all of it, or nothing.
_STANDS = """
    local function stands(key, now)
        local found = redis.call('HMGET', key, 'n', 'e')
        if found[2] and tonumber(found[2]) > now then return tonumber(found[1]), tonumber(found[2]) end
        return 0, nil
    end
    local function add(key, by, lifetime, slack, now)
        local amount, ends = stands(key, now)
        if ends then return {redis.call('HINCRBY', key, 'n', by), ends} end
        redis.call('HSET', key, 'n', by, 'e', now + lifetime)
        redis.call('EXPIRE', key, math.max(lifetime, 0) + slack)
        return {by, now + lifetime}
    end
    local now, slack = tonumber(ARGV[1]), tonumber(ARGV[2])
"""
_COUNT = (
    _STANDS
    + """
    local by, lifetime = tonumber(ARGV[3]), tonumber(ARGV[4])
    if by == 0 then
        local amount, ends = stands(KEYS[1], now)
        return {amount, ends or now}
    end
    return add(KEYS[1], by, lifetime, slack, now)
"""
)
# Lifetime and quota of KEYS[i] are ARGV[2i + 1] and ARGV[2i + 2].
_RESERVE = (
    _STANDS
    + """
    for i, key in ipairs(KEYS) do
        local amount, ends = stands(key, now)
        if ends and amount >= tonumber(ARGV[2 * i + 2]) then return {i, ends} end
    end
    local ends = {0}
    for i, key in ipairs(KEYS) do
        ends[i + 1] = add(key, 1, tonumber(ARGV[2 * i + 1]), slack, now)[2]
    end
    return ends
"""
)
_GIVE_BACK = (
    _STANDS
    + """
    for i, key in ipairs(KEYS) do
        local amount, ends = stands(key, now)
        if ends == tonumber(ARGV[i + 2]) then
            if amount <= 1 then redis.call('DEL', key) else redis.call('HINCRBY', key, 'n', -1) end
        end
    end
"""
)


class RedisCounters:
    """The counters of the `Ephemeral` contract. Every method may raise `Away`; nothing is swept, the server forgets."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey
        register: Any = valkey.client.register_script
        self._count, self._reserve, self._give_back = register(_COUNT), register(_RESERVE), register(_GIVE_BACK)

    async def count(self, name: str, *, by: int = 1, lifetime: int, now: int) -> Counted:
        """Count."""
        amount, ends = await self._run(self._count, [name], [by, lifetime], now)
        return Counted(amount, ends)

    async def reserve(self, quotas: Sequence[Quota], now: int) -> list[Reservation] | Exhausted:
        """Count on each, or on none."""
        if not quotas:
            return []
        numbers = [number for quota in quotas for number in (quota.lifetime, quota.quota)]
        full, *ends = await self._run(self._reserve, [quota.name for quota in quotas], numbers, now)
        if full:
            return Exhausted(full - 1, ends[0])
        return [Reservation(quota.name, until) for quota, until in zip(quotas, ends, strict=True)]

    async def give_back(self, held: Sequence[Reservation], now: int) -> None:
        """Undo reservations."""
        if held:
            await self._run(self._give_back, [one.name for one in held], [one.expires_at for one in held], now)

    async def _run(self, script: Any, names: Sequence[str], numbers: Sequence[int], now: int) -> list[int]:
        keys = [f"{self._valkey.namespace}count:{name}" for name in names]
        answer: list[int] = await self._valkey.ask(lambda: script(keys=keys, args=[now, SLACK, *numbers]))
        return answer
