"""Programs execute data that they store, wherever it lies: what runs is always what was stored last."""

import pytest
from assembly390_support import assemble, assembler
from guest390_support import Guest390

from vmguest.s390x.page_tables import INVALID, NO_EXECUTE, OWNED

pytestmark = assembler

PLACES = {  # each leaves the address of a page in register 8
    "anonymous memory": "map_pages 1, 2\nlgr %r8, %r2",
    "shared anonymous memory": "map_pages 1, 1\nlgr %r8, %r2",
    "the program's data": "larl %r8, spare",
    "the stack": "lay %r8, -4096(%r15)",
    "memory mapped to be executed": "map_pages 1, 2\nlgr %r8, %r2\nlghi %r3, 4096\nlghi %r4, 7\nsys mprotect",
}
# A function in that page that returns a number is changed and called eight times: 1 + 2 + ... + 8.
STORE_AND_CALL = """
        larl %r3, function
        mvc 0(6, %r8), 0(%r3)
        lghi %r7, 0
        lghi %r9, 8
1:      stc %r9, 3(%r8)
        basr %r14, %r8
        agr %r7, %r2
        brctg %r9, 1b
"""
FUNCTION = """
        .balign 8
function: lghi %r2, 0
        br %r14
"""
LEAVE_WITH_SUM = """
        lgr %r2, %r7
        svc exit_group
"""


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_code_that_is_stored_anew_is_what_runs(guest: Guest390, place: str) -> None:
    before = guest.held()
    for _ in range(2):  # the frames of the first run are used again
        assert guest.run_code(assemble(place + STORE_AND_CALL + LEAVE_WITH_SUM + FUNCTION)).status == 36
    assert guest.held() == before


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_child_and_its_parent_run_what_each_has_stored(guest: Guest390, place: str) -> None:
    in_a_child = """
        sys fork
        lgr %r10, %r2
        ltgr %r2, %r2
        jnz 2f
        basr %r14, %r8
        mvi 3(%r8), 50
        basr %r14, %r8
        svc exit_group
2:      lgr %r9, %r10
        wait_for
        larl %r3, status
        llgc %r4, 2(%r3)
        agr %r7, %r4
        mvi 3(%r8), 9
        basr %r14, %r8
        agr %r7, %r2
    """
    ended = guest.run_code(assemble(place + STORE_AND_CALL + in_a_child + LEAVE_WITH_SUM + FUNCTION))
    assert ended.status == 36 + 50 + 9


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_code_changes_the_page_that_it_lies_in(guest: Guest390, place: str) -> None:
    source = """
        larl %r3, function
        mvc 0(end - function, %r8), 0(%r3)
        lghi %r2, 0
        lghi %r9, 8
        basr %r14, %r8
        svc exit_group
        .balign 8
function: stc %r9, changed - function + 3(%r8)
        la %r10, changed - function(%r8)
        br %r10  # Unicorn translates up to here
changed: aghi %r2, 0
        brctg %r9, function
        br %r14
end:
    """
    assert guest.run_code(assemble(place + source)).status == 36


def test_code_from_a_file_is_read_into_a_page_that_was_executed(guest: Guest390) -> None:
    """What the guest kernel stores is what runs, too."""
    read = """
        map_pages 1, 2
        lgr %r8, %r2
        lghi %r7, 0
        lghi %r9, 3
1:      lghi %r2, 0
        lgr %r3, %r8
        lghi %r4, 6
        sys read
        basr %r14, %r8
        agr %r7, %r2
        brctg %r9, 1b
    """
    functions = b"".join(bytes.fromhex(f"a729000{number}07fe") for number in (1, 2, 4))
    assert guest.run_code(assemble(read + LEAVE_WITH_SUM), content=functions).status == 7


def test_only_what_is_mapped_for_it_or_was_tried_can_be_executed(guest: Guest390) -> None:
    source = PLACES["anonymous memory"] + STORE_AND_CALL + "lay %r3, -8192(%r15)\nmvi 0(%r3), 1\nsys pause" + FUNCTION
    owned = own_entries(guest, source)
    assert sum(not entry & NO_EXECUTE for entry in owned) == 1
    assert sum(bool(entry & NO_EXECUTE) for entry in owned) >= 1


def test_the_end_of_a_signal_handler_makes_no_code_of_the_stack(guest: Guest390) -> None:
    """Else stores to it would be slow, and each of the guest kernel's would have all code translated anew."""
    source = """
        handle 10
        send 10
        send 10
        lgrl %r2, count
        cghi %r2, 2
        je 1f
        leave 1
1:      sys pause
handler:
        larl %r1, count
        agsi 0(%r1), 1
        br %r14
    """
    assert all(entry & NO_EXECUTE for entry in own_entries(guest, source))


def own_entries(guest: Guest390, source: str) -> list[int]:
    """Run a program until it waits; return the entries of the pages that are its own."""
    process = guest.start(guest.put("waits", assemble(source)))
    guest.programs.run(lambda: all(thread.waiting is not None for thread in process.threads))
    assert process.threads, process.exit_status
    entries = [entry for _, found in process.space._tables.all_entries() for entry in found if entry & OWNED]
    guest.programs.end(process)
    return [entry for entry in entries if not entry & INVALID]
