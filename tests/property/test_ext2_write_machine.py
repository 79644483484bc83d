"""Any operations on an ext2 volume, whole or refused as a model of dictionaries has it; then e2fsck finds no fault.

The volumes are small: full ones, and ones without a free inode, are met too. An operation that found no room must have
changed nothing, but for a write, which may have been done in part.
"""

import subprocess
import tempfile
from errno import ENOSPC
from functools import cache
from pathlib import Path
from typing import Any

from ext2_model_support import Model, Operation, RefusedError, Written, moves_into_itself, shape, volume_shape
from ext2_support import content, e2fs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from needs_support import needs, tool

from dcss.errors import KernelError
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume

pytestmark = needs("mke2fs", "e2fsck")
LARGEST_BYTES = 9_000_000
GEOMETRIES = {  # name: arguments of mke2fs
    "one group": ("-b", "4096", "-N", "400", "6000k"),
    "without room": ("-b", "1024", "-N", "32", "300k"),
    "many groups": ("-b", "1024", "-g", "256", "-N", "64", "1500k"),
    "large inodes, no filetype": ("-b", "2048", "-I", "256", "-O", "^filetype", "3000k"),
}
names = st.sampled_from([b"a", b"b", b"c", b"d", b"long-" * 20, b"x" * 255])
directories = st.sampled_from([b"", b"", b"a", b"b", b"a/a", b"a/b", b"b/c", b"d"])
paths = st.tuples(directories, names).map(b"/".join)
positions = st.one_of(st.just(0), st.integers(0, 5000), st.integers(0, LARGEST_BYTES))
sizes = st.sampled_from([0, 1, 100, 4096, 9000, 40_000, 200_000])
attributes = st.sampled_from([b"user.a", b"user.b", b"trusted.c"])


def op(kind: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    return st.tuples(st.just(kind), *arguments)


making = st.one_of(
    op("create", directories, names),
    op("mkdir", directories, names),
    op("symlink", directories, names, st.sampled_from([1, 59, 60, 61, 300, 1000]).map(lambda size: b"t" * size)),
    op("mkfifo", directories, names),
    op("link", paths, directories, names),
)
removing = st.one_of(op("unlink", directories, names), op("rmdir", directories, names))
moving = op("rename", directories, names, directories, names)
data = st.one_of(
    op("write", paths, positions, st.tuples(st.binary(min_size=1, max_size=4), sizes).map(lambda p: p[0] * p[1])),
    op("truncate", paths, positions),
)
setting = st.one_of(
    op("chmod", paths, st.integers(0, 0o7777)),
    op("chown", paths, st.sampled_from([0, 1000, 70_000])),
    op("setxattr", paths, attributes, st.sampled_from([b"", b"one", b"two", b"v" * 200])),
    op("removexattr", paths, attributes),
)
operations = st.one_of(making, making, data, data, moving, removing, setting).filter(
    lambda operation: not moves_into_itself(operation)
)


@cache
def empty_image(geometry: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "image")
        arguments = ("-q", "-F", "-t", "ext2", "-O", "^resize_inode", *GEOMETRIES[geometry][:-1])
        e2fs("mke2fs", *arguments, path, GEOMETRIES[geometry][-1])
        return path.read_bytes()


class Ext2WriteMachine(RuleBasedStateMachine):
    """A volume and its model."""

    @initialize(geometry=st.sampled_from(sorted(GEOMETRIES)))
    def start(self, geometry: str) -> None:
        self.image = bytearray(empty_image(geometry))
        self.volume = Written(self.image)
        self.model = Model()

    @rule(operation=operations)
    def operate(self, operation: Operation) -> None:
        kind, *arguments = operation
        try:
            getattr(self.volume, kind)(*arguments)
        except KernelError as error:
            if error.errno == ENOSPC:
                if kind == "write":
                    node = self.model.find(arguments[0])
                    node.data = content(self.volume.source, self.volume.volume, self.volume.find(arguments[0]))
                return
            errno: int | None = error.errno
        else:
            errno = None
        try:
            getattr(self.model, kind)(*arguments)
        except RefusedError as refused:
            assert errno == refused.errno, f"{operation}: {errno}"
        else:
            assert errno is None, f"{operation}: {errno}"

    @rule()
    def sync(self) -> None:
        self.volume.volume.sync()
        assert not self.volume.volume.dirty

    @rule()
    def read_again(self) -> None:
        self.volume.volume.sync()
        self.volume.volume.invalidate()

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        wanted = shape(self.model.root)
        assert volume_shape(self.volume.source, self.volume.volume) == wanted
        self.volume.writer.close()
        source = BufferSource(bytes(self.image))
        assert volume_shape(source, Volume.mount(source)) == wanted
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.image)
            file.flush()
            checked = subprocess.run(
                [tool("e2fsck") or "e2fsck", "-fn", file.name], capture_output=True, text=True, check=False
            )
            assert checked.returncode == 0, checked.stdout


TestExt2WriteMachine = Ext2WriteMachine.TestCase
TestExt2WriteMachine.settings = settings(max_examples=25, stateful_step_count=60, deadline=None)
