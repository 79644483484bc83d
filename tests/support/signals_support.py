"""Signals as an interactive shell would have left them, whatever started the tests."""

import signal
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def reset_signals() -> None:
    """Start every child of this process with the default action of the signals that end a program.

    A script's background job starts with SIGINT ignored, what nohup starts with SIGHUP ignored. Children inherit that,
    and a test that interrupts one would wait for ever. A signal that has a handler is reset by exec, so a handler that
    does nothing keeps it ignored here alone. Python's own handler of SIGINT is part of what is tested.
    """
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else _nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Leave a signal without effect."""
