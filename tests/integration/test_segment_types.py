"""Page types mean what they say, in guests that are processes, by what the kernel lets them do and charges them for."""

from collections.abc import Iterator
from errno import EACCES
from signal import SIGSEGV

import pytest
from cp_support import BlockingCp, control_program, define, filler
from real_guest_support import GuestDiedError, RealGuest, real_guests

FIRST, PAGES = 0x20000, 256
WORDS = f"{FIRST:X}-{FIRST + PAGES - 1:X}"
CONTENT = "content"
WRITTEN = (0, 7, 8, 200)  # pages of the segment


@pytest.fixture
def cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        yield running


@pytest.fixture
def guests(cp: BlockingCp) -> Iterator[list[RealGuest]]:
    with real_guests(cp, "A", "B") as started:
        yield started


def saved(cp: BlockingCp, kind: str) -> None:
    """Have the segment in the spool, its first page with content where the type keeps one."""
    content = CONTENT.encode() if kind in {"SW", "EW", "SR", "ER"} else b""
    cp.saved.store(define("LIB", f"{WORDS} {kind}"), filler(content))


def own_pages(guest: RealGuest) -> set[int]:
    return guest.own_pages(FIRST, PAGES)


@pytest.mark.parametrize(("kind", "begins"), [("SW", CONTENT), ("SN", "")])
def test_a_shared_store_is_seen_by_all(cp: BlockingCp, guests: list[RealGuest], kind: str, begins: str) -> None:
    """FACTS 1.1, SW and SN: one copy, no page of a guest's own."""
    saved(cp, kind)
    writer, reader = guests
    for guest in guests:
        guest.load("LIB")
        assert guest.read(FIRST) == begins
    for page in WRITTEN:
        writer.store(FIRST + page, "written")
        assert reader.read(FIRST + page) == "written"
    assert bytes(cp.files[1].object.buffer[:7]) == b"written"
    assert own_pages(writer) == own_pages(reader) == set()


@pytest.mark.parametrize(("kind", "begins"), [("EW", CONTENT), ("EN", "")])
def test_an_exclusive_store_is_the_guests_own(cp: BlockingCp, guests: list[RealGuest], kind: str, begins: str) -> None:
    """FACTS 1.1, EW and EN: nobody else sees it, and it costs the page that was written."""
    saved(cp, kind)
    writer, reader = guests
    for guest in guests:
        guest.load("LIB")
        assert guest.read(FIRST) == begins
    for page in WRITTEN:
        writer.store(FIRST + page, "written")
    assert writer.read(FIRST) == "written"
    assert reader.read(FIRST) == begins
    assert own_pages(writer) == {FIRST + page for page in WRITTEN}
    assert own_pages(reader) == set()
    assert bytes(cp.files[1].object.buffer) == begins.encode().ljust(PAGES * 4096, b"\0")


@pytest.mark.parametrize("kind", ["SR", "ER", "SC"])
def test_the_kernel_refuses_a_store(cp: BlockingCp, guests: list[RealGuest], kind: str) -> None:
    """FACTS 1.1, SR, ER and SC: the store is a fault. The shared ones cannot even be made writable."""
    saved(cp, kind)
    for guest in guests:
        guest.load("LIB")
    before = bytes(cp.files[1].object.buffer)
    if kind != "ER":
        assert guests[0].make_writable(FIRST) == EACCES
    with pytest.raises(GuestDiedError) as died:
        guests[0].store(FIRST, "written")
    assert died.value.signal == SIGSEGV
    assert bytes(cp.files[1].object.buffer) == before
    assert guests[1].read(FIRST) == (CONTENT if kind != "SC" else "")


def test_what_cp_writes_is_seen_at_once(cp: BlockingCp, guests: list[RealGuest]) -> None:
    """FACTS 1.1, SC, such as MONDCSS: guests have it loaded, read only, while CP writes."""
    saved(cp, "SC")
    for guest in guests:
        guest.load("LIB")
        assert guest.read(FIRST + 1) == ""
    assert cp.execute(f"STORE NSS LIB {(FIRST + 1) << 12:X} D4D6D5C9E3D6D9").return_code == 0
    for guest in guests:
        assert guest.read(FIRST + 1).encode("latin-1").decode("cp037") == "MONITOR"
        assert own_pages(guest) == set()
    with pytest.raises(GuestDiedError):
        guests[0].store(FIRST + 1, "written")
    assert guests[1].cp_command(f"STORE NSS LIB {FIRST << 12:X} 00") == 1  # class C, which it lacks


@pytest.mark.parametrize("kind", ["SW", "EW", "SR", "ER", "SN", "EN", "SC"])
def test_a_load_that_is_not_shared_costs_what_is_written(cp: BlockingCp, guests: list[RealGuest], kind: str) -> None:
    """Whatever the type, a non-shared load is a private copy of the saved content, page by page."""
    saved(cp, kind)
    alone, sharer = guests
    sharer.load("LIB")
    alone.load("LIB", shared=False)
    begins = alone.read(FIRST)
    assert begins == (CONTENT if cp.files[1].definition.ranges[0].type.saved else "")
    assert (own_pages(alone), alone.own_bytes(FIRST)) == (set(), 0)
    for page in range(PAGES):
        alone.read(FIRST + page)
    assert (own_pages(alone), alone.own_bytes(FIRST)) == (set(), 0)
    for page in WRITTEN:
        alone.store(FIRST + page, "written")
    assert own_pages(alone) == {FIRST + page for page in WRITTEN}
    assert alone.own_bytes(FIRST) == len(WRITTEN) * 4096
    assert sharer.read(FIRST) == begins
    alone.unload("LIB")
    alone.load("LIB", shared=False)
    assert alone.read(FIRST) == begins
    assert own_pages(alone) == set()


def test_a_load_that_is_not_shared_shows_what_was_saved(cp: BlockingCp, guests: list[RealGuest]) -> None:
    """Not what those who share it have made of it."""
    saved(cp, "SW")
    sharer, alone = guests
    sharer.load("LIB")
    sharer.store(FIRST, "written")
    alone.load("LIB", shared=False)
    assert alone.read(FIRST) == CONTENT


@pytest.mark.parametrize("kind", ["SN", "EN"])
def test_pages_without_data_are_zero_at_the_first_load_and_never_saved(
    cp: BlockingCp, guests: list[RealGuest], kind: str
) -> None:
    """FACTS 1.1 and 1.2: SN lasts while someone uses it; SAVESEG keeps neither."""
    saved(cp, kind)
    writer, other = guests
    writer.load("LIB")
    writer.store(FIRST, "written")
    assert writer.cp_command(f"DEFSEG LIB {WORDS} {kind}") == 0
    assert writer.cp_command("SAVESEG LIB") == 0
    other.load("LIB")  # the new version
    assert other.read(FIRST) == ""
    assert writer.read(FIRST) == "written"
    writer.unload("LIB")
    writer.load("LIB")
    assert writer.read(FIRST) == ""
    writer.store(FIRST, "again")
    for guest in guests:
        guest.unload("LIB")
    other.load("LIB")
    assert other.read(FIRST) == ""


@pytest.mark.parametrize("kind", ["SW", "EW", "SR", "ER"])
def test_saveseg_keeps_what_the_guest_has(cp: BlockingCp, guests: list[RealGuest], kind: str) -> None:
    """FACTS 1.2: the pages of who says it, here of a copy that was changed."""
    saved(cp, kind)
    maint, other = guests
    maint.load("LIB", shared=False)
    maint.store(FIRST + 3, "changed")
    maint.cp_command(f"DEFSEG LIB {WORDS} {kind}")
    assert maint.cp_command("SAVESEG LIB") == 0
    other.load("LIB")
    assert (other.read(FIRST), other.read(FIRST + 3)) == (CONTENT, "changed")
    assert cp.files[2].owner == "A"


def test_purged_storage_is_not_addressable(cp: BlockingCp, guests: list[RealGuest]) -> None:
    """FACTS 2, after PURGESEG: beyond storage nothing answers, and a copy of its own is gone."""
    saved(cp, "EW")
    guest = guests[0]
    guest.load("LIB", shared=False)
    guest.store(FIRST, "written")
    guest.unload("LIB")
    assert own_pages(guest) == set()
    guest.load("LIB", shared=False)
    assert guest.read(FIRST) == CONTENT
    guest.unload("LIB")
    with pytest.raises(GuestDiedError) as died:
        guest.read(FIRST)
    assert died.value.signal == SIGSEGV


def test_users_are_counted_right_when_guests_are_killed(cp: BlockingCp) -> None:
    """SIGKILL takes a guest out of the count of what it had loaded, old versions included."""
    saved(cp, "SR")
    with real_guests(cp, "A", "B", "C", "D") as guests:
        for guest in guests[:3]:
            guest.load("LIB")
        saved(cp, "SR")
        guests[3].load("LIB")
        guests[0].kill()
        assert [len(file.users) for file in cp.files.values()] == [2, 1]
        for guest in guests[1:3]:
            guest.kill()
        assert {file.spid: (file.file_class, file.users) for file in cp.files.values()} == {2: ("A", {"D"})}
        guests[3].kill()
        assert cp.execute("QUERY NSS USERS").lines[1] == "0002 LIB      DCSS     A  00000"
