"""Whatever a program gives a system call, the call fails or works: nothing else comes of it."""

from contextlib import suppress
from errno import errorcode

from guest390_support import Guest390
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.mm_area import PROT_READ, PROT_WRITE
from vmguest.s390x.calls.all import CALLS
from vmguest.s390x.process import Process, WaitError

MEMORY = 0x7000_0000  # two pages that the program has, and nothing behind them
MEMORY_BYTES = 2 * PAGE_SIZE
WIDE = 1 << 64

places = st.integers(MEMORY - 8, MEMORY + MEMORY_BYTES + 8)
values = st.one_of(
    st.integers(0, 12),
    places,
    st.sampled_from([MEMORY, MEMORY + 256, MEMORY + MEMORY_BYTES - 4, 0x1000000]),
    st.sampled_from([WIDE - 1, WIDE - 100, 1 << 63, (1 << 63) - 1, 1 << 31, (1 << 32) - 1, 1 << 42, (1 << 42) - 1]),
    st.integers(0, (1 << 32) - 1),
    st.builds(lambda bit: 1 << bit, st.integers(0, 63)),
)
contents = st.one_of(
    st.binary(max_size=64),
    st.lists(values, max_size=16).map(lambda words: b"".join(word.to_bytes(8, "big") for word in words)),
    st.sampled_from([b"/tmp/f\0", b"/proc/self/maps\0", b"/bin/hello\0", b"/dev/null\0", b"\0", b"a" * 255 + b"\0"]),
)
calls = st.lists(
    st.tuples(st.sampled_from(sorted(CALLS)), st.lists(values, min_size=6, max_size=6), contents),
    min_size=1,
    max_size=25,
)


def started(guest: Guest390) -> Process:
    """Return a process that waits for a signal, and is loaded."""
    process = guest.start(b"/bin/pause")
    guest.programs.run(lambda: bool(process.threads and process.threads[0].waiting))
    process.space.map(None, 0, MEMORY_BYTES // PAGE_SIZE, PROT_READ | PROT_WRITE, address=MEMORY)
    return process


@given(sequence=calls)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_system_calls_fail_or_work(guest: Guest390, sequence: list[tuple[int, list[int], bytes]]) -> None:
    before = guest.held()._replace(free_bytes=0)
    process = started(guest)
    try:
        for call in sequence:
            if process.ended is not None or not process.threads:
                break
            make_call(guest, process, *call)
    finally:
        for each in guest.programs.running:
            guest.programs.end(each)
    assert guest.held()._replace(free_bytes=0) == before


def make_call(guest: Guest390, process: Process, number: int, parameters: list[int], content: bytes) -> None:
    """Make one system call, after the content was stored where it may look for it."""
    thread = process.threads[0]
    guest.system.scheduler.load(thread)
    with suppress(KernelError):  # an earlier call took the memory away
        process.space.write(MEMORY, content)
        process.space.write(MEMORY + 256, content)
    try:
        result = CALLS[number](guest.system, thread, [0x1000000, 0, *parameters])
        assert result is None or -max(errorcode) <= result < WIDE
    except KernelError as error:
        assert error.errno in errorcode
    except WaitError as wait:
        wait.waiting.ready()
    thread.leave_call()
    guest.system.futexes.forget(thread)
