"""A damaged volume that is written: each operation is done or refused as damage, none crashes or never ends."""

from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from ext2_model_support import Operation, Written, moves_into_itself
from ext2_support import make_image
from fuzz_support import time_limit
from needs_support import needs

from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume

pytestmark = needs("mke2fs")
BLOCK = 1024
NAMES = [b"a", b"b", b"c", b"d", b"x" * 200]
DIRECTORIES = [b"", b"a", b"b", b"a/a", b"a/b"]
CASES = 300
SECONDS_PER_CASE = 5.0


def operation(random: Random) -> Operation:
    directory, name, other = random.choice(DIRECTORIES), random.choice(NAMES), random.choice(DIRECTORIES)
    path = directory + b"/" + name
    return random.choice(
        [
            ("create", directory, name),
            ("mkdir", directory, name),
            ("symlink", directory, name, b"t" * random.choice([5, 300])),
            ("write", path, random.choice([0, 20_000, 800_000]), bytes(random.choice([1, 9000, 50_000]))),
            ("truncate", path, random.choice([0, 100, 900_000])),
            ("unlink", directory, name),
            ("rmdir", directory, name),
            ("rename", directory, name, other, random.choice(NAMES)),
            ("link", path, other, random.choice(NAMES)),
            ("setxattr", path, b"user.a", bytes(random.choice([0, 3, 200]))),
            ("removexattr", path, b"user.a"),
            ("chmod", path, 0o600),
        ]
    )


def sound_image() -> bytes:
    with TemporaryDirectory() as directory:
        options = ("-b", str(BLOCK), "-g", "512", "-N", "64", "-O", "^resize_inode,^dir_index")
        data = bytearray(make_image(Path(directory, "image"), "1500k", *options).read_bytes())
    written, random = Written(data), Random(5)
    for _ in range(300):
        each = operation(random)
        if not moves_into_itself(each):
            with suppress(KernelError):
                getattr(written, each[0])(*each[1:])
    written.writer.close()
    return bytes(data)


def metadata(image: bytes) -> list[tuple[int, int]]:
    """Return offset and length of everything that is no file's data."""
    volume = Volume.mount(BufferSource(image))
    areas = [(1024, 1024), (2048, BLOCK)]
    for number in range(volume.group_count):
        group = volume.group(number)
        areas += [(block * BLOCK, BLOCK) for block in (group.bg_block_bitmap, group.bg_inode_bitmap)]
        areas.append((group.bg_inode_table * BLOCK, 22 * 128))
    for _, inode in volume.walk():
        if inode.is_dir:
            areas += [(run.disk_block * BLOCK, run.blocks * BLOCK) for run in volume.runs(inode)]
        if inode.has_block_map:
            areas += [(block * BLOCK, BLOCK) for block in volume.indirect_blocks(inode)]
        if inode.file_acl:
            areas.append((inode.file_acl * BLOCK, BLOCK))
    return areas


@pytest.fixture(scope="module")
def image() -> bytes:
    return sound_image()


def damaged(image: bytes, random: Random) -> bytearray:
    data, areas = bytearray(image), metadata(image)
    for _ in range(random.choice([1, 2, 5, 20])):
        offset, length = random.choice(areas)
        place = offset + random.randrange(length)
        data[place] = random.choice([0, 255, random.randrange(256), data[place] ^ 1 << random.randrange(8)])
    return data


def test_damage_is_met_by_errors_only(image: bytes) -> None:
    mounted = refused = 0
    for seed in range(CASES):
        random = Random(seed)
        data = damaged(image, random)
        with time_limit(SECONDS_PER_CASE):
            try:
                written = Written(data)
            except (KernelError, Ext2FormatError):
                continue
            mounted += 1
            for _ in range(40):
                each = operation(random)
                if moves_into_itself(each):
                    continue
                try:
                    getattr(written, each[0])(*each[1:])
                except Ext2FormatError:
                    refused += 1
                except KernelError:
                    pass
            with suppress(KernelError, Ext2FormatError):
                written.writer.close()
    assert mounted > CASES // 2
    assert refused > CASES // 4  # the damage was met


def test_a_sound_image_meets_no_damage(image: bytes) -> None:
    written, random = Written(bytearray(image)), Random(1)
    for _ in range(200):
        each = operation(random)
        if not moves_into_itself(each):
            with suppress(KernelError):
                getattr(written, each[0])(*each[1:])
    written.writer.close()
    assert {path for path, _ in written.volume.walk()} >= {b"/", b"/lost+found"}
