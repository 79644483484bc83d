"""The statistics area between a writer and readers: whole slots, none that are torn, and an end that nobody hastens."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from cp_support import unique_system

from dcss.abi import statistics as abi
from dcss.cp.statistics import StatisticsArea
from dcss.host import shared_memory
from dcss.rpc import statistics as reader_module
from dcss.rpc.area_files import StatisticsError, has_area
from dcss.rpc.statistics import StatisticsReader

LOOKS = 3000


@pytest.fixture
def area() -> Iterator[StatisticsArea]:
    with closing(StatisticsArea(unique_system(), 2)) as made:
        assert not made.problem
        made.announce()
        yield made


def system_of(area: StatisticsArea) -> str:
    return area.name.removeprefix("/dcss.").removesuffix(".stats")


def filled(number: int) -> bytes:
    """Return a guest's slot behind its head, every byte of which is the same."""
    return bytes((number % 256,)) * (abi.GUEST_SLOT.size - 16)


@contextmanager
def writing(area: StatisticsArea) -> Iterator[None]:
    """Have another process write the first guest's slot, and count its calls, as fast as it can."""
    begun, begin = os.pipe()
    child = os.fork()
    if child == 0:
        number = 0
        with suppress(BaseException):
            while True:
                area.tables.guests[0].write(filled(number))
                area.tables.guests[0].add(abi.HYPERCALLS_WORD)
                number += 1
                if number == 2:
                    os.write(begin, b"1")
        os._exit(0)
    try:
        assert os.read(begun, 1) == b"1"
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(begun)
        os.close(begin)


def test_no_look_at_a_slot_that_is_being_written_is_torn(area: StatisticsArea) -> None:
    seen: set[bytes] = set()
    counts = [0]
    with writing(area), StatisticsReader(system_of(area), os.getpid()) as reader:
        while len(counts) <= LOOKS or len(seen) < 2:  # on a busy machine the writer has its turn late
            guest = reader.read().guests[0]
            assert len(set(guest.slot.name + guest.slot.segments + guest.slot.reason)) == 1
            assert guest.slot.pid == int.from_bytes(guest.slot.name[:8], sys.byteorder)
            seen.add(guest.slot.name)
            counts.append(guest.hypercalls[0])
    assert len(seen) > 1
    assert counts == sorted(counts)
    assert counts[-1] > 0


def test_a_slot_that_stays_torn_is_an_error(area: StatisticsArea, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_TORN_SECONDS", 0.0)
    monkeypatch.setattr("dcss.host.process.wants_processor", lambda _: False)
    area.tables.guests[1]._words[0] += 1
    with (
        StatisticsReader(system_of(area), os.getpid()) as reader,
        pytest.raises(StatisticsError, match=r"torn slot at byte .*was stopped or killed while it wrote"),
    ):
        reader.read()


def test_each_write_leaves_a_whole_slot(area: StatisticsArea) -> None:
    slot = area.tables.guests[0]
    with StatisticsReader(system_of(area), os.getpid()) as reader:
        slot.write(filled(255))
        slot.add(abi.HYPERCALLS_WORD + 3, 2)
        slot.add(abi.HYPERCALLS_WORD + 3, -1)
        slot.write(filled(0))
        guest = reader.read().guests[0]
    assert guest.hypercalls[3] == 1
    assert guest.slot.pid == 0


def test_what_does_not_change_is_not_written(area: StatisticsArea) -> None:
    slot = area.tables.guests[0]
    slot.write(filled(1))
    before = slot._words[0]
    slot.write(filled(1))
    assert slot._words[0] == before


def test_the_area_is_its_users_alone_and_goes_with_its_cp() -> None:
    area = StatisticsArea(unique_system(), 1)
    path = Path("/dev/shm") / area.name.removeprefix("/")
    assert path.name == f"dcss.{system_of(area)}.stats"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 >= path.stat().st_size  # no page is missing when a full tmpfs gives none
    assert not has_area(system_of(area), os.getpid())
    area.announce()
    assert has_area(system_of(area), os.getpid())
    assert not has_area(system_of(area), os.getpid() + 1)
    area.close()
    assert not path.exists()
    area.tables.guests[0].write(filled(1))  # guests end after it


def test_an_area_of_the_same_name_is_left_alone() -> None:
    system = unique_system()
    with closing(StatisticsArea(system, 1)) as first, closing(StatisticsArea(system, 1)) as second:
        assert second.name == f"{first.name}.1"


def test_a_reader_cannot_write(area: StatisticsArea) -> None:
    with StatisticsReader(system_of(area), os.getpid()) as reader, pytest.raises(TypeError, match="read-only"):
        reader._memory[0] = 1


def test_a_program_that_only_read_leaves_the_area_and_starts_no_other(area: StatisticsArea) -> None:
    program = (
        "from multiprocessing.resource_tracker import _resource_tracker\n"
        "from dcss.rpc.statistics import StatisticsReader\n"
        f"with StatisticsReader({system_of(area)!r}, {os.getpid()}) as reader:\n"
        "    print(len(reader.read().guests), _resource_tracker._pid)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["2", "None"], "")
    assert has_area(system_of(area), os.getpid())


def test_an_area_of_another_version_is_not_read(area: StatisticsArea) -> None:
    block = shared_memory.attach_block(area.name.removeprefix("/"))
    assert block.buf is not None
    block.buf[8] += 1
    block.close()
    with pytest.raises(StatisticsError, match=r"has version 2 and .* wanted version 1"):
        StatisticsReader(system_of(area), os.getpid())


def test_a_machine_without_room_has_no_area_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    area = StatisticsArea(unique_system(), 1)
    assert "bytes in /dev/shm: No space left on device" in area.problem
    assert not (Path("/dev/shm") / f"dcss.{system_of(area)}.stats").exists()
    area.tables.guests[0].add(abi.HYPERCALLS_WORD)
    area.announce()
    area.close()


def test_the_trackers_register_is_back_afterwards(area: StatisticsArea) -> None:
    from multiprocessing import resource_tracker

    shared_memory.attach_block(area.name.removeprefix("/")).close()
    assert resource_tracker.register is not shared_memory._ignore
