"""What a guest is told of its plan."""

from pathlib import Path

from system_support import guest

from dcss.config.plan import DiskPlan, MountPlan, S390xSettings, Step
from dcss.engines.forked.spec import spec_of
from vmguest.spec import GuestSpec, ProgramOptions


def test_a_guest_is_told_its_mounts_by_what_it_makes_for_them_its_steps_and_its_disks() -> None:
    plan = guest(
        "G",
        mounts=(
            MountPlan("dcssblk0", "/", ("ro", "xip")),
            MountPlan("dcssblk0", "/a", ("ro",), "xip"),
            MountPlan("dcssblk0", "/b", ("ro",), "ramdisk"),
            MountPlan("vdb", "/c", (), "mtd"),
            MountPlan("vdb", "/d", (), "page-cache"),
            MountPlan("tmpfs", "/e", ("size=1M",), type="tmpfs"),
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
            ("tmpfs", "/e", ("size=1M",), "tmpfs"),
        ),
        (("map", "/lib/*"), ("exec", "ls", "-l")),
        (("vdb", True),),
    )


def test_options_of_programs_reach_the_guest_and_only_those_that_are_given() -> None:
    plan = guest(
        "Z",
        settings=S390xSettings("clone", 60.0),
        run=(
            Step("map", "/x"),
            Step("exec", ("a",)),
            Step("exec", ("b",), background=True, environment=(("A", "b=c"), ("L", ""))),
            Step("exec", ("c",), strace=True),
        ),
    )
    spec = spec_of(plan)
    assert spec.programs == (ProgramOptions(2, True, ("A=b=c", "L=")), ProgramOptions(3, strace=True))
    assert (spec.time_limit_seconds, spec.boot) == (60.0, "clone")
    assert GuestSpec.unpack(spec.pack()) == spec
    assert spec_of(guest("A")).programs == ()
