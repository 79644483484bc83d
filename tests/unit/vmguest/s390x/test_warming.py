"""A guest that will be cloned has its shells run for nothing: no trace is left, no thread that a fork would lose."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import pytest
from cp_support import BlockingCp
from elf390_support import install, loop
from guest_support import definition, fill_with, guest_kernel
from image_support import build
from programs_support import FakeProcess, FakePrograms

from vmguest.kernel import Kernel
from vmguest.s390x import warming
from vmguest.s390x.programs import Command, Programs


def boot(kernel: Kernel) -> None:
    kernel.dcssblk.load_module("LIB")
    kernel.mount("dcssblk0", "/", ("ro", "xip"))


@pytest.mark.parametrize("shell", ["hello", "fail", "loop", None, "text"])
def test_it_leaves_the_guest_as_it_was(
    control_program: BlockingCp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str | None
) -> None:
    monkeypatch.setattr(warming, "_SECONDS", 0.1)
    install(tmp_path / "tree")
    programs = tmp_path / "tree/bin"
    (programs / "text").write_bytes(b"no program")
    (programs / "text").chmod(0o755)
    assert (programs / "loop").read_bytes() == loop()
    if shell is not None:
        (programs / "sh").write_bytes((programs / shell).read_bytes())
        (programs / "sh").chmod(0o755)
    build(tmp_path / "tree", tmp_path / "image")
    control_program.publish(definition("LIB"), fill_with((tmp_path / "image").read_bytes()))
    with guest_kernel(control_program) as kernel:
        boot(kernel)
        made = Programs(kernel)
        before = kernel.counters(), threading.active_count()
        warming.warm(kernel, made, nullcontext)
        made.rest()
        assert made.running == ()
        assert made.anonymous_bytes == 0
        assert (kernel.counters(), threading.active_count()) == before


def test_each_shell_and_then_the_tools(control_program: BlockingCp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are asked for one after the other, as the host asks."""
    commands: list[tuple[bytes, ...]] = []
    monkeypatch.setattr(warming, "existing", lambda _, path: path)

    class Noting(FakePrograms):
        running = ()

        def start(self, command: Command, *others: Any, **more: Any) -> FakeProcess:
            commands.append(command.words)
            return super().start(Command((b"fake",)), *others, **more)

    def body(process: FakeProcess) -> Iterator[None]:
        yield from process.write(b"out")

    within: list[int] = []

    @contextmanager
    def gathered() -> Iterator[None]:
        yield
        within.append(len(commands))

    with guest_kernel(control_program) as kernel:
        warming.warm(kernel, cast(Programs, Noting({b"fake": body})), gathered)
    both = [b"/bin/sh", b"/bin/bash"]
    shells = [*both, b"/bin/bash", *both * 4, b"/bin/bash", b"/bin/bash"]
    assert [words[:2] for words in commands] == [(shell, b"-c") for shell in shells]
    assert within == [3]  # and all of that again, so that it is specialized
    assert {words[2] for words in commands[:3]} < {words[2] for words in commands[3:]}
    assert b"| sort |" in commands[2][2]
    assert all(interpreter in commands[-1][2] for interpreter in (b"perl -e", b"python3 "))
