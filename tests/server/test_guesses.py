"""How fast tokens can be guessed, and that the right one is never kept out."""

import asyncio
import time

import pytest

pytest.importorskip("prometheus_client", reason="the server takes faceproof[serve]")

from faceproof.server import guesses
from faceproof.server.guesses import FREE, LONGEST, MOST_WAITING, RATE, Guesses
from faceproof.server.judging_queue import RefusedError

REAL_SLEEP = asyncio.sleep


class Time:
    """A clock that runs while somebody sleeps, so that a minute takes no time."""

    def __init__(self):
        self.now = 0.0

    async def sleep(self, seconds):
        until = self.now + seconds
        while self.now < until:
            await REAL_SLEEP(0)
            self.now = max(self.now, min(self.now + 0.01, until))


@pytest.fixture
def clock(monkeypatch):
    clock = Time()
    monkeypatch.setattr(guesses.asyncio, "sleep", clock.sleep)
    return clock


def wrong():
    return False


def right():
    return True


def test_a_few_mistakes_cost_nothing_and_then_each_has_to_wait(clock):
    tried = Guesses(lambda: clock.now)

    async def guess(times):
        for _ in range(times):
            assert not await tried.admit("10.0.0.1", wrong)

    asyncio.run(guess(FREE))
    assert clock.now == 0
    asyncio.run(guess(100))
    assert clock.now == pytest.approx(100 / RATE, rel=0.1)


def test_several_workers_admit_no_more_together_than_one(clock):
    workers = 2
    each = [Guesses(lambda: clock.now, workers) for _ in range(workers)]

    async def guess(tried, times):
        for _ in range(times):
            assert not await tried.admit("10.0.0.1", wrong)

    async def run(times):
        await asyncio.gather(*(guess(one, times // workers) for one in each))

    asyncio.run(run(FREE))
    assert clock.now == 0
    asyncio.run(run(100))
    assert clock.now == pytest.approx(100 / RATE, rel=0.1)


def test_the_right_token_is_taken_while_others_guess(clock):
    """Of the same client after a while; of a client that is known at once."""
    tried = Guesses(lambda: clock.now)

    async def run():
        assert await tried.admit("10.0.0.2", right)
        tasks = [asyncio.create_task(tried.admit("10.0.0.1", wrong)) for _ in range(60)]
        await REAL_SLEEP(0)
        began = clock.now
        assert await tried.admit("10.0.0.2", right)
        assert clock.now == began
        assert await tried.admit("10.0.0.1", right)
        assert clock.now - began <= LONGEST + 1
        assert not any(await asyncio.gather(*tasks))

    asyncio.run(run())


def test_who_guesses_from_many_addresses_is_slowed_down_too(clock):
    tried = Guesses(lambda: clock.now)

    async def run():
        for number in range(1000):
            await tried.admit(f"10.0.{number // 250}.{number % 250}", wrong)

    asyncio.run(run())
    assert clock.now >= 900 / guesses.RATE_OF_ALL * 0.9


def test_only_so_many_wait_and_soon_after_nobody_has_to(clock):
    tried = Guesses(lambda: clock.now)

    async def run():
        tokens = [tried.admit("10.0.0.1", wrong) for _ in range(3 * MOST_WAITING)]
        return await asyncio.gather(*tokens, return_exceptions=True)

    found = asyncio.run(run())
    refused = [one for one in found if isinstance(one, RefusedError)]
    assert len(refused) == 2 * MOST_WAITING - FREE
    assert {one.status for one in refused} == {429}
    assert refused[0].headers["Retry-After"] == f"{LONGEST:.0f}"
    clock.now += LONGEST + 1
    began = clock.now
    assert asyncio.run(tried.admit("10.0.0.1", right))
    assert clock.now == began


def test_a_household_is_one_client_of_ipv6():
    assert guesses._network("2001:db8::1") == guesses._network("2001:db8::ffff:2")
    assert guesses._network("2001:db8::1") != guesses._network("2001:db8:0:1::1")
    assert guesses._network("10.0.0.1") != guesses._network("10.0.0.2")


def test_what_is_remembered_does_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(guesses, "MOST_CLIENTS", 20)
    times = iter(range(10**6))
    tried = Guesses(lambda: float(next(times)))

    async def run():
        for number in range(200):
            await tried.admit(f"10.0.0.{number}", right if number % 2 else wrong)

    asyncio.run(run())
    assert len(tried._paid) <= 25
    assert len(tried._known) <= 20


def test_many_right_tokens_take_no_time():
    tried = Guesses()

    async def run():
        return [await tried.admit("10.0.0.1", right) for _ in range(5000)]

    began = time.monotonic()
    assert all(asyncio.run(run()))
    assert time.monotonic() - began < LONGEST
