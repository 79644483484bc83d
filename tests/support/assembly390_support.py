"""Programs in s390x assembler, for tests: GNU as and ld for s390x make them."""

import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from needs_support import needs, tool

assembler = needs("s390x-linux-gnu-as")

_PRELUDE = """
        .set exit, 1
        .set fork, 2
        .set read, 3
        .set write, 4
        .set getpid, 20
        .set alarm, 27
        .set pause, 29
        .set kill, 37
        .set pipe, 42
        .set mmap, 90
        .set munmap, 91
        .set wait4, 114
        .set clone, 120
        .set mprotect, 125
        .set sched_yield, 158
        .set nanosleep, 162
        .set poll, 168
        .set rt_sigreturn, 173
        .set rt_sigaction, 174
        .set rt_sigprocmask, 175
        .set rt_sigsuspend, 179
        .set vfork, 190
        .set sigaltstack, 186
        .set gettid, 236
        .set futex, 238
        .set exit_group, 248
        .set waitid, 281
        .set execve, 11

        .macro sys name
        .if \\name < 256
        svc \\name
        .else
        lghi %r1, \\name
        svc 0
        .endif
        .endm

        .macro leave code
        lghi %r2, \\code
        svc exit_group
        .endm

        # End with the error of the last call as the exit status, or with 0.
        .macro leave_with_error
        lcgr %r2, %r2
        svc exit_group
        .endm

        # Map so many pages of anonymous memory; their address is in register 2.
        .macro map_pages pages, flags
        larl %r3, 9f
        lgr %r2, %r3
        sys mmap
        j 8f
        .balign 8
9:      .quad 0, \\pages * 4096, 3, 0x20 + \\flags, -1, 0
8:
        .endm

        # Have `handler` handle a signal.
        .macro handle number, flags=0
        lghi %r2, \\number
        larl %r3, 9f
        lghi %r4, 0
        lghi %r5, 8
        sys rt_sigaction
        j 8f
        .balign 8
9:      .quad handler, \\flags, 0, 0
8:
        .endm

        .macro send number
        sys getpid
        lghi %r3, \\number
        sys kill
        .endm

        # Set the blocked signals to those of a set.
        .macro block signals
        lghi %r2, 2
        larl %r3, 9f
        lghi %r4, 0
        lghi %r5, 8
        sys rt_sigprocmask
        j 8f
        .balign 8
9:      .quad \\signals
8:
        .endm

        .macro sleep milliseconds
        larl %r2, 9f
        lghi %r3, 0
        sys nanosleep
        j 8f
        .balign 8
9:      .quad 0, \\milliseconds * 1000000
8:
        .endm

        # Wait for the child in register 9; its status is at `status`.
        .macro wait_for options=0
        lgr %r2, %r9
        larl %r3, status
        lghi %r4, \\options
        lghi %r5, 0
        sys wait4
        .endm

        .data
        .balign 8
count:  .quad 0
deepest: .quad 0
ends:   .long 0, 0
status: .long 0
byte:   .byte 0
        .balign 16
spare:  .space 8192
spare_end:
        .text
        .globl _start
_start:
"""


@cache
def assemble(source: str) -> bytes:
    """Return a static program that begins with `source`."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        Path(directory, "program.s").write_text(_PRELUDE + source + "\n")
        for command in (
            ("s390x-linux-gnu-as", "-march=z13", "-o", "program.o", "program.s"),
            ("s390x-linux-gnu-ld", "-static", "-z", "max-page-size=4096", "-o", "program", "program.o"),
        ):
            path = tool(command[0])
            assert path is not None
            done = subprocess.run([path, *command[1:]], cwd=directory, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        return Path(directory, "program").read_bytes()
