"""The CPU's state is saved and loaded whole, and its stops lie between instructions."""

import mmap
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes import addressof, c_char

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unicorn import s390x_const

from dcss.abi.page import PAGE_SIZE
from vmguest.s390x import self_test
from vmguest.s390x.cpu import FIXED_POINT_DIVIDE, OPERATION, PSW_MASK, PSW_OWN, Cpu, Registers

ABSOLUTE_BYTES = self_test._ABSOLUTE_BYTES

doublewords = st.integers(0, (1 << 64) - 1)
controls = [s390x_const.UC_S390X_REG_CR0 + number for number in range(2, 16)]


def tuples(of: st.SearchStrategy[int], count: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(of, min_size=count, max_size=count).map(tuple)


states = st.builds(
    Registers,
    psw_mask=st.integers(0, 3).map(lambda code: PSW_MASK | code << 44),
    address=st.integers(0, (1 << 63) - 1).map(lambda half: 2 * half),
    general=tuples(doublewords, 16),
    access=tuples(st.integers(0, (1 << 32) - 1), 16),
    fpc=st.sampled_from([0, 1, 2, 3, 0x00F80001, 0xF8000003]),
    left=tuples(doublewords, 32),
    right=tuples(doublewords, 32),
)


@pytest.fixture(scope="module")
def storage() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, ABSOLUTE_BYTES) as made:
        self_test._make_tables(made)
        yield made


@pytest.fixture(scope="module")
def cpu(storage: mmap.mmap) -> Cpu:
    return Cpu(addressof(c_char.from_buffer(storage)), ABSOLUTE_BYTES)


@given(first=states, second=states, control=tuples(doublewords, 14))
def test_a_saved_state_comes_back_whole(
    cpu: Cpu, first: Registers, second: Registers, control: tuple[int, ...]
) -> None:
    cpu.set_registers(first)
    for register, value in zip(controls, control, strict=True):
        cpu._uc.reg_write(register, value)  # type: ignore[no-untyped-call]
    assert cpu.registers() == first
    kept = cpu.new_context(0, 0, 0)
    cpu.save(kept)
    cpu.load(cpu.new_context(0, 0, 0))
    cpu.set_registers(second)
    assert cpu.registers() == second
    cpu.load(kept)
    assert cpu.registers() == first
    assert tuple(map(cpu._uc.reg_read, controls)) == control


@given(state=states, mask=doublewords)
def test_a_program_can_set_its_own_bits_of_the_mask_only(cpu: Cpu, state: Registers, mask: int) -> None:
    cpu.set_registers(state._replace(psw_mask=mask))
    assert cpu.registers().psw_mask == PSW_MASK | mask & PSW_OWN


@given(state=states, stack=doublewords, pointer=doublewords)
def test_a_childs_state_is_its_parents_but_for_what_clone_says(
    cpu: Cpu, state: Registers, stack: int, pointer: int
) -> None:
    cpu.set_registers(state)
    child = cpu.child_context(0x7007, 0x1000, stack, pointer)
    assert cpu.registers() == state
    cpu.load(child)
    general = (*state.general[:2], 0, *state.general[3:15], stack)
    access = (pointer >> 32, pointer & 0xFFFF_FFFF, *state.access[2:])
    assert cpu.registers() == state._replace(address=0x1000, general=general, access=access)
    cpu.load(cpu.new_context(0, 0, 0))


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("0000", OPERATION),
        ("1d24", FIXED_POINT_DIVIDE),  # DR R2,R4
        ("1822b2b20000", 0x02),  # LPSWE: privileged
        ("182283000000", 0x02),  # DIAG: privileged
        ("a7f41000", 0x11),  # J to the next page but one, which is not there
    ],
)
def test_why_a_program_was_interrupted(cpu: Cpu, storage: mmap.mmap, code: str, wanted: int) -> None:
    found: list[int] = []

    def note(code: int) -> bool:
        found.append(code)
        return False

    cpu.on_check = note
    self_test._prepare(cpu, storage, bytes.fromhex(code))
    cpu.run()
    assert found == [wanted]


def test_what_a_handler_raises_is_raised_where_the_cpu_was_started(cpu: Cpu, storage: mmap.mmap) -> None:
    def fail() -> bool:
        raise LookupError("of the handler")

    cpu.on_call = fail
    self_test._prepare(cpu, storage, bytes.fromhex("0a01"))
    with pytest.raises(LookupError, match="of the handler"):
        cpu.run()


@pytest.mark.parametrize("by_hook", [False, True])
def test_stops_are_exact(by_hook: bool) -> None:
    class Chosen(Cpu):
        def __init__(self, window: int, absolute_bytes: int) -> None:
            super().__init__(window, absolute_bytes)
            if by_hook:
                self.stops.use_hook()

    assert self_test.prove(Chosen)


def test_the_loop_that_proves_it_would_show_a_stop_within_an_instruction(storage: mmap.mmap, cpu: Cpu) -> None:
    storage[self_test._DATA : self_test._DATA + 16] = struct.pack(">QQ", 5, 4)
    self_test._prepare(cpu, storage, self_test._LOOP)
    cpu.set_general(3, 5)
    assert not self_test._is_consistent(cpu, storage)


STEPS = (0x1000, 0x1006, 0x100C, 0x1012, 0x1016)  # addresses of the instructions of the loop


@pytest.mark.parametrize("by_hook", [False, True])
def test_a_run_of_one_instruction_is_not_ended_before_it(storage: mmap.mmap, by_hook: bool) -> None:
    cpu = Cpu(addressof(c_char.from_buffer(storage)), ABSOLUTE_BYTES)
    if by_hook:
        cpu.stops.use_hook()
    storage[self_test._DATA : self_test._DATA + 16] = bytes(16)
    self_test._prepare(cpu, storage, self_test._LOOP)
    ended = threading.Event()

    def request() -> None:
        while not ended.is_set():
            cpu.stops.request()

    with ThreadPoolExecutor() as threads:
        threads.submit(request)
        try:
            for _ in range(2000):
                for address in STEPS:
                    assert cpu.address == address
                    cpu.run(one=True)
        finally:
            ended.set()
    assert struct.unpack_from(">QQ", storage, self_test._DATA) == (2000, 2000)
    assert cpu.general(3) == 2000


def test_one_instruction_is_run_once_its_pages_are_there(storage: mmap.mmap, cpu: Cpu) -> None:
    entries = [self_test._PAGES + 8 * (page // PAGE_SIZE) for page in (self_test._CODE_AT, self_test._DATA_AT)]
    valid = [bytes(storage[entry : entry + 8]) for entry in entries]
    checks: list[int] = []

    def bring(code: int) -> bool:
        checks.append(code)
        for entry, value in zip(entries, valid, strict=True):
            storage[entry : entry + 8] = value
        return True

    cpu.on_check = bring
    storage[self_test._DATA : self_test._DATA + 16] = bytes(16)
    self_test._prepare(cpu, storage, self_test._LOOP)
    for count in range(1, 4):
        for index, address in enumerate(STEPS):
            for entry in entries[index % 2 :]:
                storage[entry : entry + 8] = struct.pack(">Q", 0x400)
            cpu.purge()
            assert cpu.address == address
            cpu.run(one=True)
        assert struct.unpack_from(">QQ", storage, self_test._DATA) == (count, count)
        assert cpu.general(3) == count
    assert len(checks) >= 12
