"""A guest kernel without disks."""

from collections.abc import Iterator

import pytest
from cp_support import BlockingCp
from guest_support import guest_kernel

from vmguest.fs.namei import Vfs
from vmguest.kernel import Kernel


@pytest.fixture
def bare_kernel(control_program: BlockingCp) -> Iterator[Kernel]:
    with guest_kernel(control_program) as kernel:
        yield kernel


@pytest.fixture
def vfs(bare_kernel: Kernel) -> Vfs:
    return bare_kernel.vfs
