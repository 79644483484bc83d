"""What guests of an entry may have in common, and what keeps them from being clones of one."""

import pytest

from vmguest.cloning import reason_against
from vmguest.spec import GuestSpec

IN_PLACE = ("dcssblk0", "/", ("ro", "xip"), "")


def spec(*mounts: tuple[str, str, tuple[str, ...], str], disks: tuple[tuple[str, bool], ...] = ()) -> GuestSpec:
    return GuestSpec("G", 16 << 20, ("LIB",), mounts, (), disks)


@pytest.mark.parametrize(
    ("guests", "reason"),
    [
        (spec(), ""),
        (spec(IN_PLACE), ""),
        (spec(IN_PLACE, ("dcssblk1", "/w", ("rw", "xip"), "")), ""),
        (spec(("dcssblk0", "/", ("ro", "dax"), "")), ""),
        (spec(IN_PLACE, ("tmpfs", "/tmp", (), "tmpfs")), ""),
        (spec(("dcssblk0", "/", ("ro",), "")), "the mount of dcssblk0 at / copies files"),
        (spec(IN_PLACE, ("dcssblk1", "/r", ("ro",), "ramdisk")), "the mount of dcssblk1 at /r copies files"),
        (spec(("dcssblk0", "/", ("ro", "xip"), "mtd")), "the mount of dcssblk0 at / copies files"),
        (spec(IN_PLACE, disks=(("vdb", False),)), "it has disks on files of this machine"),
    ],
)
def test_guests_that_would_share_copies_are_no_clones(guests: GuestSpec, reason: str) -> None:
    assert reason_against(guests) == reason
