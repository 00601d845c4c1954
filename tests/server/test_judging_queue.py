"""The threads in which uploads are judged."""

import asyncio
import threading
import time

import pytest

from faceproof.server.judging_queue import JudgingQueue, RefusedError
from faceproof.server.limits import Limits


def test_what_waits_too_long_is_never_begun():
    queue = JudgingQueue(Limits(concurrency=1, timeout=0.2))
    go, begun = threading.Event(), []

    async def both():
        first = asyncio.create_task(queue.work(go.wait, 20))
        await asyncio.sleep(0.05)
        with pytest.raises(RefusedError, match="no answer within"):
            await queue.work(begun.append, 1)
        with pytest.raises(RefusedError):
            await first

    asyncio.run(both())
    go.set()
    queue.close()
    time.sleep(0.05)
    assert begun == []
