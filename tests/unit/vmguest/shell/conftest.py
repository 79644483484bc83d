"""Guests for the shell: one with ext2 in place at /, one with nothing mounted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from tree_support import make_tree, mke2fs

from vmguest.kernel import Kernel


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[bytes, bytes]]:
    """Return an image and the content of its files by path."""
    place = tmp_path_factory.mktemp("shell")
    contents = make_tree(place / "tree")
    return mke2fs(place / "tree", place / "image"), contents


@pytest.fixture
def kernel(control_program: BlockingCp, tree: tuple[bytes, dict[bytes, bytes]]) -> Iterator[Kernel]:
    """Give a guest that has the image in place at /, and the same image in a second segment."""
    control_program.publish(definition("A", "20000-207FF SR"), fill_with(tree[0]))
    control_program.publish(definition("B", "21000-217FF SR"), fill_with(tree[0]))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("A,B")
        kernel.mount("/dev/dcssblk0", "/", ("ro", "xip"))
        yield kernel


@pytest.fixture
def bare(control_program: BlockingCp) -> Iterator[Kernel]:
    """Give a guest with nothing mounted."""
    with guest_kernel(control_program) as kernel:
        yield kernel


@pytest.fixture
def contents(tree: tuple[bytes, dict[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the content of the image's files by path."""
    return tree[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that ask for `kernel` need mke2fs, since a fixture takes no marks."""
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here) and "kernel" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.needs("mke2fs"))
