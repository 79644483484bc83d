"""A guest kernel in the test process that runs s390x programs: its image's, and those that a test puts into /tmp."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple

from cp_support import BlockingCp
from elf390_support import install
from guest_support import WRITE, definition, fill_with, guest_kernel
from image_support import build

from vmguest.fs.namei import unlink
from vmguest.fs.open import FileDescription, open_file
from vmguest.fs.stream import InputFile, OutputFile, open_stream
from vmguest.kernel import Kernel
from vmguest.s390x.process import Process
from vmguest.s390x.programs import DEFAULT_ENVIRONMENT, Command, Programs
from vmguest.s390x.system import System

_SECONDS = 60.0  # no program of a test takes as long


class Ended(NamedTuple):
    """How a program ended, and what it wrote to its standard output and standard error together."""

    status: int
    output: bytes


class Held(NamedTuple):
    """What programs hold of a guest."""

    frames: int
    tables: int
    shared: int
    free_bytes: int
    processes: int
    threads: int


@dataclass
class Guest390:
    """A guest whose root file system is a segment; /tmp is in real storage."""

    kernel: Kernel
    programs: Programs

    @property
    def system(self) -> System:
        """The parts of what runs programs."""
        return self.programs._system

    def put(self, name: str, content: bytes, mode: int = 0o755) -> bytes:
        """Make a file in /tmp; return its path."""
        path = b"/tmp/" + name.encode()
        with open_file(self.kernel.vfs, path, WRITE, mode=mode) as file:
            assert file.write(content) == len(content)
        return path

    def start(
        self, *words: bytes, content: bytes = b"", sink: bytearray | None = None, limit: float | None = None
    ) -> Process:
        """Start a program, whose standard input has `content`; what it writes is added to `sink`."""
        written = bytearray() if sink is None else sink
        given = InputFile()
        given.feed(content)
        given.end()
        taken = OutputFile(written.extend)
        files: list[FileDescription] = [open_stream(self.kernel.vfs, given, 0)]
        files += [open_stream(self.kernel.vfs, taken, 1) for _ in range(2)]
        return self.programs.start(Command(words, DEFAULT_ENVIRONMENT, time_limit_seconds=limit), files)

    def finish(self, process: Process) -> int:
        """Run programs until one has ended; return its status."""
        end = monotonic() + _SECONDS
        self.programs.run(lambda: process.exit_status is not None or monotonic() > end)
        assert process.exit_status is not None, "it does not end"
        return process.exit_status

    def run(self, *words: bytes, content: bytes = b"") -> Ended:
        """Run a program to its end."""
        written = bytearray()
        status = self.finish(self.start(*words, content=content, sink=written))
        return Ended(status, bytes(written))

    def run_code(self, program: bytes, *arguments: bytes, content: bytes = b"") -> Ended:
        """Run a program that is given as its file's content."""
        path = self.put("program", program)
        ended = self.run(path, *arguments, content=content)
        unlink(self.kernel.vfs, path)
        return ended

    def held(self) -> Held:
        """Return what programs hold now; tables that wait to be used again are nobody's."""
        frames, table = self.system.frames, self.system.table
        pooled = (len(frames._half_tables) + 1) // 2 + 4 * len(frames._large_tables)
        free = self.kernel.machine.storage.free_bytes + frames.table_pages * 4096
        return Held(
            frames.used_pages,
            frames.table_pages - pooled,
            len(frames._more),
            free,
            len(table.processes),
            len(table.threads),
        )


@cache
def _image() -> bytes:
    with TemporaryDirectory() as directory:
        tree, image = Path(directory, "tree"), Path(directory, "image")
        install(tree)
        build(tree, image)
        return image.read_bytes()


@contextmanager
def guest390(cp: BlockingCp) -> Iterator[Guest390]:
    """Yield a guest that has the programs of elf390_support in /bin."""
    cp.publish(definition("LIB"), fill_with(_image()))
    with guest_kernel(cp) as kernel:
        kernel.dcssblk.load_module("LIB")
        kernel.mount("dcssblk0", "/", ("ro", "xip"))
        kernel.mount("", "/tmp", (), "tmpfs")
        programs = Programs(kernel)
        try:
            yield Guest390(kernel, programs)
        finally:
            for process in programs.running:
                programs.end(process)
            programs.rest()
