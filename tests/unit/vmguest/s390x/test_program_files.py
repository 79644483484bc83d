"""What execve(2) makes of files: programs, scripts, and everything that is neither."""

import struct
from errno import EACCES, ELOOP, ENOENT, ENOEXEC

import pytest
from elf390_support import elf, hello
from guest390_support import Ended, Guest390
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcss.errors import KernelError
from vmguest.s390x.program import MOST_ARGUMENT_BYTES

LOAD, INTERPRETER = 1, 3
HEADER = struct.Struct(">16sHHIQQQIHHHHHH")
PROGRAM_HEADER = struct.Struct(">IIQQQQQQ")

words = st.one_of(
    st.integers(0, 0x3000),
    st.integers(0, (1 << 64) - 1),
    st.sampled_from([0x1000000, (1 << 42) - 1, 1 << 42, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1]),
)
segments = st.lists(
    st.tuples(st.sampled_from([LOAD, LOAD, INTERPRETER, 0x6474E551]), st.integers(0, 7), *[words] * 6), max_size=4
)


def program(kind: int, entry: int, table_at: int, headers: list[tuple[int, ...]], sections: tuple[int, int]) -> bytes:
    """Return an ELF file that says whatever it is told to."""
    sections_at, count = sections
    head = HEADER.pack(
        b"\x7fELF\x02\x02\x01", kind, 22, 1, entry, table_at, sections_at, 0, 64, 56, len(headers), 64, count, 0
    )
    return (head + b"".join(PROGRAM_HEADER.pack(*each) for each in headers)).ljust(0x1234, b"\x07")


def load(guest: Guest390, content: bytes) -> None:
    """Load a file as a program, and let it go again; what it is refused with is a KernelError."""
    path = guest.put("program", content)
    try:
        loaded = guest.system.loader.load(path, [path], [], None)
    except KernelError:
        return
    loaded.space.release()
    loaded.executable.release()


@given(
    kind=st.sampled_from([2, 3]),
    entry=words,
    table_at=st.one_of(st.just(64), words),
    headers=segments,
    sections=st.tuples(words, st.integers(0, 65535)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_elf_files_that_say_anything(  # noqa: PLR0917
    guest: Guest390, kind: int, entry: int, table_at: int, headers: list[tuple[int, ...]], sections: tuple[int, int]
) -> None:
    before = guest.held()._replace(free_bytes=0)
    load(guest, program(kind, entry, table_at, headers, sections))
    assert guest.held()._replace(free_bytes=0) == before


@given(at=st.integers(0, 119), value=st.integers(0, 255), cut=st.integers(0, 200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_programs_that_are_damaged(guest: Guest390, at: int, value: int, cut: int) -> None:
    before = guest.held()._replace(free_bytes=0)
    content = bytearray(hello())
    content[at] = value
    load(guest, bytes(content))
    load(guest, bytes(content[:cut]))
    assert guest.held()._replace(free_bytes=0) == before


@given(line=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_scripts_that_begin_with_anything(guest: Guest390, line: bytes) -> None:
    load(guest, b"#!" + line)


def test_a_script_is_run_by_its_interpreter(guest: Guest390) -> None:
    script = guest.put("script", b"#! /bin/hello -x\nwhatever")
    process = guest.start(script, b"one")
    assert process.words == (b"/bin/hello", b"-x", script, b"one")
    assert guest.finish(process) == 0


@pytest.mark.parametrize(
    ("content", "errno"),
    [
        (b"", ENOEXEC),
        (b"text", ENOEXEC),
        (b"#!\n", ENOEXEC),
        (b"#!/bin/none\n", ENOENT),
        (b"#!/tmp/program\n", ELOOP),
        (b"#!/tmp\n", EACCES),
        (hello()[:100], ENOEXEC),
        (hello().replace(b"\0\x16", b"\0\x3e", 1), ENOEXEC),
    ],
)
def test_what_is_no_program_is_refused(guest: Guest390, content: bytes, errno: int) -> None:
    before = guest.held()
    path = guest.put("program", content)
    with pytest.raises(KernelError, check=lambda error: error.errno == errno):
        guest.start(path)
    assert guest.held()._replace(free_bytes=0) == before._replace(free_bytes=0)


def test_a_program_whose_file_is_shorter_than_it_says_gets_sigbus(guest: Guest390) -> None:
    whole = elf(bytes.fromhex("a7f40000"))
    headers = PROGRAM_HEADER.pack(LOAD, 7, 0, 0x1000000, 0x1000000, 0x5000, 0x5000, 0x1000)
    content = HEADER.pack(*(*HEADER.unpack_from(whole)[:4], 0x1003000, *HEADER.unpack_from(whole)[5:])) + headers
    assert guest.run_code(content) == Ended(128 + 7, b"")


def test_arguments_that_take_the_whole_stack_are_refused(guest: Guest390) -> None:
    before = guest.held()
    with pytest.raises(KernelError):
        guest.start(b"/bin/hello", b"x" * (5 * MOST_ARGUMENT_BYTES))
    assert guest.held() == before
    assert guest.run(b"/bin/hello", b"x" * (MOST_ARGUMENT_BYTES - 100)) == Ended(0, b"hello\n")
