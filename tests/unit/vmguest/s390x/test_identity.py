"""Users and capabilities, beside what tests/conformance/identity_calls.c compares: files, set-id programs, /proc."""

from errno import EACCES, EPERM

import pytest
from calls390_support import AT_FDCWD, Caller
from elf390_support import PROGRAMS
from guest390_support import Guest390

from vmguest.fs.open import O_WRONLY, open_file
from vmguest.identity import CAP_DAC_OVERRIDE, Identity, Ids

SECRET = b"/tmp/secret"


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    guest.put("secret", b"", 0o600)
    return Caller(guest)


def opens(caller: Caller) -> int | None:
    return caller.call("openat", AT_FDCWD, SECRET + b"\0", O_WRONLY, 0)


def test_files_see_the_effective_user_and_what_he_may_do(caller: Caller) -> None:
    assert caller.call("setresuid", 0, 7, 0) == 0
    assert opens(caller) == -EACCES
    assert caller.call("setresuid", 0, 0, 0) == 0
    assert (opens(caller) or -1) >= 0


def test_root_without_its_capability_is_like_any_other(caller: Caller, guest: Guest390) -> None:
    assert caller.call("chmod", SECRET + b"\0", 0o400) == 0
    header = caller.put((0x2008_0522).to_bytes(4) + bytes(4))
    sets = caller.put(24)
    assert caller.call("capget", header, sets) == 0
    low = int.from_bytes(caller.get(sets, 4)) & ~(1 << CAP_DAC_OVERRIDE)
    assert caller.call("capset", header, low.to_bytes(4) + caller.get(sets + 4, 20)) == 0
    assert opens(caller) == -EACCES  # it is its owner, who may but read it
    with open_file(guest.kernel.vfs, b"/proc/%d/status" % caller.process.pid) as file:
        content = bytearray(4096)
        text = bytes(content[: file.read(memoryview(content))])
    assert b"CapEff:\t000001fffffffffd\n" in text
    assert b"CapPrm:\t000001ffffffffff\n" in text


def test_who_is_no_root_keeps_files_open_to_him_by_a_capability(caller: Caller) -> None:
    assert caller.call("prctl", 8, 1, 0, 0, 0) == 0  # PR_SET_KEEPCAPS
    assert caller.call("setresuid", 7, 7, 7) == 0
    assert opens(caller) == -EACCES
    header, sets = (0x2008_0522).to_bytes(4) + bytes(4), (1 << CAP_DAC_OVERRIDE).to_bytes(4) * 2 + bytes(16)
    assert caller.call("capset", header, sets) == 0
    assert (opens(caller) or -1) >= 0


@pytest.mark.parametrize(
    ("mode", "no_new", "ids"),
    [
        (0o755, False, (Ids(7, 7, 7), Ids(8, 8, 8))),
        (0o4755, False, (Ids(7, 5, 5), Ids(8, 8, 8))),
        (0o2755, False, (Ids(7, 7, 7), Ids(8, 6, 6))),
        (0o2745, False, (Ids(7, 7, 7), Ids(8, 8, 8))),
        (0o6755, False, (Ids(7, 5, 5), Ids(8, 6, 6))),
        (0o6755, True, (Ids(7, 7, 7), Ids(8, 8, 8))),
    ],
)
def test_set_id_programs_run_as_their_owner(
    caller: Caller, guest: Guest390, mode: int, no_new: bool, ids: tuple[Ids, Ids]
) -> None:
    (users, groups), path = ids, guest.put("program", PROGRAMS["pause"])
    assert caller.call("chown", path + b"\0", 5, 6) == 0
    assert caller.call("chmod", path + b"\0", mode) == 0
    caller.process.take_identity(Identity(Ids(7, 7, 7), Ids(8, 8, 8), no_new_privileges=no_new))
    guest.system.scheduler.load(caller.thread)
    guest.system.life.execute(caller.thread, path, [b"program"], [])
    identity = caller.process.identity
    assert (identity.users, identity.groups) == (users, groups)
    assert identity.capabilities.effective == 0
    assert caller.process.dumpable == (users.real == users.effective and groups.real == groups.effective)


def test_a_set_id_program_of_root_may_do_what_root_may(caller: Caller, guest: Guest390) -> None:
    path = guest.put("program", PROGRAMS["pause"], 0o4755)
    assert caller.call("chmod", path + b"\0", 0o4755) == 0
    assert caller.call("setresuid", 7, 7, 7) == 0
    guest.system.scheduler.load(caller.thread)
    guest.system.life.execute(caller.thread, path, [b"program"], [])
    assert caller.process.credentials.privileged
    assert caller.call("setresuid", 9, 9, 9) == 0
    assert caller.call("setresuid", 0, 0, 0) == -EPERM
