"""What a guest is told of its plan."""

from pathlib import Path

from system_support import guest

from dcss.config.plan import DiskPlan, MountPlan, Step
from dcss.engines.forked.spec import spec_of
from vmguest.spec import GuestSpec


def test_a_guest_is_told_its_mounts_by_what_it_makes_for_them_its_steps_and_its_disks() -> None:
    plan = guest(
        "G",
        mounts=(
            MountPlan("dcssblk0", "/", ("ro", "xip")),
            MountPlan("dcssblk0", "/a", ("ro",), "xip"),
            MountPlan("dcssblk0", "/b", ("ro",), "ramdisk"),
            MountPlan("vdb", "/c", (), "mtd"),
            MountPlan("vdb", "/d", (), "page-cache"),
        ),
        run=(Step("map", "/lib/*"), Step("exec", ("ls", "-l"))),
        disks=(DiskPlan("vdb", Path("/x/y"), True, "test.yaml:1"),),
    )
    assert spec_of(plan) == GuestSpec(
        "G",
        64 << 20,
        ("LIB",),
        (
            ("dcssblk0", "/", ("ro", "xip"), ""),
            ("dcssblk0", "/a", ("ro", "xip"), ""),
            ("dcssblk0", "/b", ("ro",), "ramdisk"),
            ("vdb", "/c", ("ro", "xip"), "mtd"),
            ("vdb", "/d", (), ""),
        ),
        (("map", "/lib/*"), ("exec", "ls", "-l")),
        (("vdb", True),),
    )
