"""A signal that comes just before a wait ends it: here one that another thread takes, which ends no call either."""

import io
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dcss.cli.key_screen import KeyScreen
from dcss.host.interrupts import SignalledError, signals_interrupt, sleep

LONG_SECONDS = 600.0


@contextmanager
def signal_soon(number: signal.Signals) -> Iterator[None]:
    """Have a signal come to another thread, most likely when this one waits."""

    def take() -> None:
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), number)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_window_that_changed_ends_a_wait_for_keys() -> None:
    with KeyScreen(io.StringIO(), None) as screen, signal_soon(signal.SIGWINCH):
        assert screen.wait(LONG_SECONDS) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_command_ends_a_wait_for_keys(number: signal.Signals) -> None:
    output = io.StringIO()
    raised = pytest.raises(SignalledError)
    with signals_interrupt(), raised as found, KeyScreen(output, None) as screen, signal_soon(number):
        screen.wait(LONG_SECONDS)
        screen.wait(0)  # the handler runs between two calls
    assert found.value.number == number
    assert output.getvalue().endswith("\x1b[?1049l")
    assert signal.set_wakeup_fd(-1) == -1


def test_a_signal_interrupts_a_sleep() -> None:
    with signals_interrupt(), pytest.raises(SignalledError), signal_soon(signal.SIGTERM):
        sleep(LONG_SECONDS)


def test_a_sleep_lasts_as_long_as_it_is_told() -> None:
    began = time.monotonic()
    sleep(0.7)
    sleep(-1.0)
    assert time.monotonic() - began >= 0.7
