"""Ctrl-C at any instant: held where it may not cut, seen afterwards, and nothing is left in /dev/shm."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from cp_support import objects_of, private_directories, unique_system

from dcss.host.aio import NoThreadError, in_thread, start_workers
from dcss.host.signals import interrupts_held, run_interruptible

PUBLISHER = textwrap.dedent(
    """
    import os, sys
    from cp_support import define, filler
    from dcss.cp.program import ControlProgram
    from dcss.host.signals import run_interruptible

    async def publish():
        with ControlProgram(sys.argv[1]) as cp:
            print("ready", flush=True)
            while True:
                await cp.publish(define("LIB", "20000-2000F SR"), filler(b"x"))
                await cp.publish(define("RW", "30000-3000F SW"), filler(b"x"))

    run_interruptible(publish())
    """
)


def test_interrupt_comes_after_the_block() -> None:
    done = []

    def body() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            done.append("block")
        done.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        body()
    assert done == ["block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_error_in_the_block_wins_and_handlers_come_back() -> None:
    def body() -> None:
        with interrupts_held():
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        body()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_signals_stay_ignored_and_other_threads_do_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts_held():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    done = []

    def body() -> None:
        with interrupts_held():
            done.append(1)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert done == [1]


def test_an_interrupt_cancels_a_coroutine_and_comes_when_it_has_cleaned_up() -> None:
    done = []

    async def main() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(10)
        finally:
            signal.raise_signal(signal.SIGINT)  # a second one waits
            await asyncio.sleep(0.05)
            done.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        run_interruptible(main())
    assert done == ["cleaned up"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_wakes_a_loop_that_waits() -> None:
    async def main() -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        run_interruptible(main())


def test_what_is_to_be_cut_short_hears_of_the_first_interrupt_only() -> None:
    heard = []

    async def main() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(10)
        finally:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)
            heard.append("end")

    with pytest.raises(KeyboardInterrupt):
        run_interruptible(main(), lambda: heard.append("interrupt"))
    assert heard == ["interrupt", "end"]


def test_a_coroutine_that_is_not_interrupted_returns_or_raises() -> None:
    async def fail() -> None:
        raise ValueError("mine")

    async def give_up() -> None:
        raise asyncio.CancelledError

    assert run_interruptible(asyncio.sleep(0, "result")) == "result"
    with pytest.raises(ValueError, match="mine"):
        run_interruptible(fail())
    with pytest.raises(asyncio.CancelledError):
        run_interruptible(give_up())


def test_ctrl_c_while_publishing_leaves_nothing() -> None:
    generator = random.Random(1)
    with private_directories():
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        for _ in range(12):
            system = unique_system("interrupt")
            with subprocess.Popen(
                [sys.executable, "-c", PUBLISHER, system],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            ) as process:
                assert process.stdout
                assert process.stdout.readline() == "ready\n"
                time.sleep(generator.random() * 0.02)
                process.send_signal(signal.SIGINT)
                _, error_text = process.communicate(timeout=300)
            assert error_text.rstrip().endswith("KeyboardInterrupt"), error_text
            assert process.returncode == -signal.SIGINT
            assert objects_of(system) == []
            assert not Path(os.environ["XDG_RUNTIME_DIR"], "dcss", system).exists()


def test_workers_that_were_started_need_no_thread_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guests may take every process that the user may have: CP goes on."""
    together = threading.Barrier(4)

    async def main() -> None:
        start_workers(asyncio.get_running_loop())
        monkeypatch.setattr(threading.Thread, "start", refused)
        await asyncio.gather(*(in_thread(together.wait, 60) for _ in range(4)))

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    run_interruptible(main())
    for worker in [thread for thread in threading.enumerate() if thread.name.startswith("dcss:worker")]:
        worker.join(60)
        assert not worker.is_alive()


def test_workers_that_cannot_all_be_started_all_end(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def limited(thread: threading.Thread) -> None:
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        start(thread)
        started.append(thread)

    async def main() -> None:
        start_workers(asyncio.get_running_loop())

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(NoThreadError, match="more processes are needed"):
        run_interruptible(main())
    assert len(started) == 3
    assert not any(thread.is_alive() for thread in started)


def test_without_any_thread_the_first_error_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        await in_thread(int)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(NoThreadError, match="more processes are needed"):
        run_interruptible(main())
