"""Progress moves while a worker thread works, and never after it."""

import asyncio
import threading

from dcss.progress import SilentProgress
from dcss.system.moving import ThreadProgress, moving


class Seen(SilentProgress):
    def __init__(self) -> None:
        super().__init__()
        self.amounts: list[int] = []
        self.moved = asyncio.Event()
        self.threads: set[int] = set()

    def advance(self, amount: int = 1) -> None:
        self.amounts.append(amount)
        self.threads.add(threading.get_ident())
        self.moved.set()


def test_it_moves_while_nothing_is_counted_and_stops_with_the_block() -> None:
    async def work() -> None:
        progress = Seen()
        async with moving(progress):
            await asyncio.wait_for(progress.moved.wait(), 60)
        assert set(progress.amounts) == {0}
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others

    asyncio.run(work())


def test_what_a_thread_counts_arrives_in_the_loop_s_thread() -> None:
    async def work() -> None:
        progress = Seen()
        await asyncio.to_thread(ThreadProgress(progress).advance, 7)
        await asyncio.wait_for(progress.moved.wait(), 60)
        assert progress.amounts == [7]
        assert progress.threads == {threading.get_ident()}

    asyncio.run(work())
