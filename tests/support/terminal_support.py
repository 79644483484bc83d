"""A terminal on which commands are started, as somebody at a keyboard would."""

import termios
from typing import Any

import pexpect
from cli_support import Dcss
from wait_support import LIMIT_SECONDS


class Terminal:
    """Someone's terminal, on which commands are started."""

    def __init__(self, dcss: Dcss) -> None:
        self._dcss = dcss
        self._children: list[pexpect.spawn[Any]] = []

    def start(self, *arguments: str) -> "pexpect.spawn[Any]":
        words = self._dcss.command(*arguments)
        environment = {**self._dcss.environment, "TERM": "xterm"}
        child = pexpect.spawn(
            words[0], words[1:], env=environment, cwd=str(self._dcss.home), timeout=LIMIT_SECONDS, dimensions=(33, 77)
        )
        self._children.append(child)
        return child

    def close(self) -> None:
        for child in self._children:
            child.close(force=True)


def is_raw(child: "pexpect.spawn[Any]") -> bool:
    """Whether the terminal passes on keys as they are."""
    return not termios.tcgetattr(child.child_fd)[3] & termios.ICANON
