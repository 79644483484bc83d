"""Pages of a segment whose instructions are done in software are copied once, for all programs of a guest."""

from pathlib import Path

import pytest
from assembly390_support import assemble, assembler
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from image_support import build

from vmguest.fs.open import O_RDWR, open_file
from vmguest.kernel import Kernel
from vmguest.s390x.programs import Command, Programs

pytestmark = assembler

COMPARE = """
        lghi %r7, 5
        chrl %r7, halfword
        ipm %r2
        srl %r2, 28
        svc exit_group
halfword: .short 4, 0x7777
"""
STORE_BESIDE = """
        larl %r2, _start
        nill %r2, 0xf000
        lghi %r3, 4096
        lghi %r4, 7
        sys mprotect
        larl %r2, halfword
        mvi 1(%r2), 6
"""
HIGH, LOW = 2, 1


def run(kernel: Kernel, programs: Programs, path: bytes) -> int | None:
    files = [open_file(kernel.vfs, b"/dev/null", O_RDWR) for _ in range(3)]
    process = programs.start(Command((path,), time_limit_seconds=60), files)
    programs.run(lambda: process.exit_status is not None)
    return process.exit_status


def test_they_leave_what_is_translated(
    control_program: BlockingCp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, source in (("compare", COMPARE), ("store", STORE_BESIDE + COMPARE), ("other", "leave 3")):
        (tree / name).write_bytes(assemble(source))
        (tree / name).chmod(0o755)
    build(tree, tmp_path / "image")
    control_program.publish(definition("LIB"), fill_with((tmp_path / "image").read_bytes()))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("LIB")
        kernel.mount("dcssblk0", "/", ("ro", "xip"))
        programs = Programs(kernel)
        assert run(kernel, programs, b"/compare") == HIGH
        forgotten: list[None] = []
        system = programs._system
        monkeypatch.setattr(system.code, "_forget_translations", lambda: forgotten.append(None))
        free_bytes = kernel.machine.storage.free_bytes
        # The frames that the other programs had, and in another order, are those of the next ones.
        for path, wanted in ((b"/other", 3), (b"/compare", HIGH), (b"/other", 3), (b"/compare", HIGH)):
            assert run(kernel, programs, path) == wanted
        assert forgotten == []
        assert (kernel.machine.storage.free_bytes, programs.anonymous_bytes) == (free_bytes, 0)
        monkeypatch.undo()
        assert run(kernel, programs, b"/store") == LOW
        assert run(kernel, programs, b"/compare") == HIGH
        programs.rest()
