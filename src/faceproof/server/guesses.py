"""Bounds how fast tokens can be guessed, without keeping out those who know the right one."""

import asyncio
import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from faceproof.server.judging_queue import RefusedError

RATE, FREE = 5.0, 10  # wrong tokens a second of one client, and how many before that counts
RATE_OF_ALL, FREE_OF_ALL = 50.0, 100  # of all clients that never sent the right one
LONGEST = 5.0  # seconds that a token waits at most before it is compared
MOST_WAITING, MOST_WAITING_OF_ALL = 100, 200  # tokens of one client, and of all
MOST_CLIENTS = 10_000  # of which something is remembered
ALL = "all"


class Guesses:
    """Has tokens wait before they are compared where too many were wrong.

    Every token books its time, and the right one gives it back. So a client's wrong tokens slow
    that client down, right tokens included, and those of many clients slow down clients that have
    never sent the right one. Whoever waits is compared in the end; only where very many wait at the
    same time are further ones refused.

    Args:
        clock: in seconds.
        workers: processes that serve together; each admits its share of the tokens.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, workers: int = 1) -> None:
        self._workers = workers
        self._clock = clock
        self._paid: dict[str, float] = {}  # by client: when what was booked is paid off
        self._waiting: Counter[str] = Counter()
        self._known: OrderedDict[str, None] = OrderedDict()  # clients that sent the right token

    async def admit(self, client: str, is_right: Callable[[], bool]) -> bool:
        """Say whether a client's token is right, in due time.

        Raises:
            RefusedError: too many wait already; the token is not compared.
        """
        name = _network(client)
        rates = {name: (RATE, FREE)}
        if name not in self._known:
            rates[ALL] = (RATE_OF_ALL, FREE_OF_ALL)
        if wait := max(self._book(key, *rate) for key, rate in rates.items()):
            await self._wait(name, wait)
        if not is_right():
            return False
        for key, (rate, _) in rates.items():
            self._paid[key] = self._paid.get(key, 0.0) - self._workers / rate
        self._known[name] = None
        self._known.move_to_end(name)
        if len(self._known) > MOST_CLIENTS:
            self._known.popitem(last=False)
        return True

    def _book(self, key: str, rate: float, free: int) -> float:
        """Book the time of one token, and return how many seconds it has to wait."""
        now = self._clock()
        rate, free = rate / self._workers, max(1, free // self._workers)
        if len(self._paid) > MOST_CLIENTS:
            self._paid = {key: paid for key, paid in self._paid.items() if paid > now}
        paid = max(self._paid.get(key, now), now)
        wait = min(max(paid - now - (free - 1) / rate, 0.0), LONGEST)
        # More than the longest wait is not booked: when guessing ends, so does waiting.
        self._paid[key] = min(paid + 1 / rate, now + free / rate + LONGEST)
        return wait

    async def _wait(self, name: str, seconds: float) -> None:
        here, all_here = MOST_WAITING // self._workers, MOST_WAITING_OF_ALL // self._workers
        if self._waiting[name] >= here or self._waiting.total() >= all_here:
            words = f"too many wrong tokens; try again in {LONGEST:g} seconds"
            raise RefusedError(429, words, {"Retry-After": f"{LONGEST:.0f}"})
        self._waiting[name] += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= Counter([name])  # drops those at zero


def _network(client: str) -> str:
    """Return what stands for a client: its address, of IPv6 the network that one household has."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client or "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
