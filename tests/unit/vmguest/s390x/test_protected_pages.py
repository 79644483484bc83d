"""Pages of a mapping whose protection changed before they were touched are found in the file all the same."""

from struct import pack

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from dcss.abi.page import PAGE_SIZE
from vmguest.fs.open import O_RDWR

PAGES = 40
PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC = 0, 1, 2, 4
MAP_SHARED, MAP_PRIVATE = 1, 2


@pytest.mark.parametrize("sharing", [MAP_SHARED, MAP_PRIVATE])
@pytest.mark.parametrize("changes", [(PROT_READ,), (PROT_NONE, PROT_READ), (PROT_READ | PROT_EXEC, PROT_READ)])
def test_a_page_that_was_not_touched_yet(guest: Guest390, sharing: int, changes: tuple[int, ...]) -> None:
    guest.put("file", b"".join(bytes([page]) * PAGE_SIZE for page in range(PAGES)))
    caller = Caller(guest)
    number = caller.open(b"/tmp/file", O_RDWR)
    parameters = pack(">6Q", 0, PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, sharing, number, 0)
    address = caller.call("mmap", parameters)
    assert address is not None
    assert address > 0
    caller.process.space.write(address, b"x")
    for protection in changes:
        assert caller.call("mprotect", address, PAGES * PAGE_SIZE, protection) == 0
    assert caller.get(address, 2) == b"x\0"
    assert caller.get(address + 20 * PAGE_SIZE, 1) == bytes([20])
