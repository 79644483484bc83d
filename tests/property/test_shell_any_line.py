"""Whatever is typed, the shell answers: no command crashes, storage is counted right, and mounts can be left."""

from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from hypothesis import given, settings
from hypothesis import strategies as st
from needs_support import needs
from shell_support import sh
from tree_support import make_tree, mke2fs

from vmguest.shell.table import COMMANDS

pytestmark = needs("mke2fs")
KEPT_BYTES = 1000  # of each output: `cat /dev/dcssblk0` alone gives 8 MiB, and a failure is kept and shown many times
STORAGE_BYTES = 2 << 20  # so small that copies fill it
PATHS = """/ . .. /tmp /tmp/a /tmp/a/b /tmp/b /tmp/l /usr /usr/lib /usr/lib/libone.so.1 /usr/lib/empty.so /lib
/lib/loop /etc/sparse /proc /proc/meminfo /proc/mounts /nosuch /dev/dcssblk0 /dev/dcssblk1 /tmp/* /usr/lib/*.so*
/sys /sys/devices /sys/devices/dcssblk/add /sys/devices/dcssblk/remove /sys/devices/dcssblk/*/*
/sys/devices/dcssblk/B/shared ''"""
OTHERS = """-l -a -i -R -d -n -c -s -p -r -f -h -k -m -b -C -t -o -L -name -type -maxdepth -- - 0 1 3 4096 ext2 ro xip
ro,xip %s %n%Y%% > >> ; && || * '*' "x" A B \xff"""
WORDS = [*(name.decode() for name in COMMANDS), *PATHS.split(), *OTHERS.split()]
COMMANDS_FIRST = st.tuples(
    st.sampled_from([name.decode() for name in COMMANDS]), st.lists(st.sampled_from(WORDS), max_size=5)
).map(lambda line: " ".join([line[0], *line[1]]))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("any-line")
    make_tree(place / "tree")
    mke2fs(place / "tree", place / "image")
    return place / "image"


@settings(max_examples=25)
@given(lines=st.lists(COMMANDS_FIRST, min_size=10, max_size=40))
def test_any_lines(image: Path, tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    directory: Path = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(directory))
        with BlockingCp(f"any-{directory.name}") as cp:
            cp.publish(definition("A", "20000-207FF SR"), fill_with(image.read_bytes()))
            cp.publish(definition("B", "21000-217FF SR"), fill_with(image.read_bytes()))
            with guest_kernel(cp, storage_bytes=STORAGE_BYTES) as kernel:
                kernel.dcssblk.load_module("A,B")
                kernel.mount("/dev/dcssblk0", "/", ("ro", "xip"))
                for line in lines:
                    ran = sh(kernel, line.encode("latin-1"), kept_bytes=KEPT_BYTES, wait=lambda _: None)
                    vmcps = {3, 4} if line.startswith("vmcp") else set()
                    assert ran.status in {0, 1, 2, 126, 127} | vmcps, (line, ran)
                books, used = kernel.counters(), STORAGE_BYTES - kernel.machine.storage.free_bytes
                # The prefix area and the page of DIAGNOSE's operands are the kernel's own.
                assert used == books.page_cache_bytes + books.buffer_bytes + books.anonymous_bytes + 3 * 4096
                assert not any(mount.users for mount in kernel.vfs.mounts)
