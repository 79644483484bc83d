"""A guest that will be cloned has its shell do nothing: it leaves no trace, and no thread that a fork would lose."""

import threading
from pathlib import Path

import pytest
from cp_support import BlockingCp
from elf390_support import install, loop
from guest_support import definition, fill_with, guest_kernel
from image_support import build

from dcss.errors import KernelError
from vmguest.kernel import Kernel
from vmguest.s390x import warming
from vmguest.s390x.programs import Programs


def boot(kernel: Kernel) -> None:
    kernel.dcssblk.load_module("LIB")
    kernel.mount("dcssblk0", "/", ("ro", "xip"))


@pytest.mark.parametrize(
    ("shell", "error"), [("hello", False), ("fail", False), ("loop", False), (None, False), ("text", True)]
)
def test_it_leaves_the_guest_as_it_was(
    control_program: BlockingCp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str | None, error: bool
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
        if error:
            with pytest.raises(KernelError):
                warming.warm(kernel, made)
        else:
            warming.warm(kernel, made)
        made.rest()
        assert made.running == ()
        assert made.anonymous_bytes == 0
        assert (kernel.counters(), threading.active_count()) == before
