"""Parts of the tree at other places: bind mounts and over-mounts of segments, and what keeps a mount busy."""

from collections.abc import Callable, Iterator
from errno import EBADF, EBUSY, EINVAL, EMFILE
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from needs_support import needs
from shell_support import out, sh
from tree_support import make_tree, mke2fs

from dcss.errors import KernelError
from vmguest.fs.descriptors import Descriptors
from vmguest.fs.open import open_file
from vmguest.kernel import Kernel
from vmguest.workload import map_files

pytestmark = needs("mke2fs")


@pytest.fixture
def kernel(control_program: BlockingCp, tmp_path: Path) -> Iterator[Kernel]:
    make_tree(tmp_path / "tree")
    image = mke2fs(tmp_path / "tree", tmp_path / "image")
    control_program.publish(definition("A", "20000-207FF SR"), fill_with(image))
    (tmp_path / "tree/usr/lib/notes.txt").write_text("version two\n")
    newer = mke2fs(tmp_path / "tree", tmp_path / "newer")
    control_program.publish(definition("B", "21000-217FF SR"), fill_with(newer))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("A,B")
        kernel.mount("dcssblk0", "/", ("ro", "xip"))
        yield kernel


def test_a_directory_of_a_segment_is_bound_over_a_real_path(kernel: Kernel) -> None:
    out(kernel, "mkdir /tmp/new; mount -o ro,xip /dev/dcssblk1 /tmp/new; mount --bind /tmp/new/usr/lib /usr/lib")
    assert out(kernel, "cat /usr/lib/notes.txt /lib/notes.txt") == b"version two\n" * 2
    assert sh(kernel, "mount").lines[-1] == "/dev/dcssblk1 on /usr/lib type ext2 (ro,xip)"
    assert out(kernel, "cd /usr/lib; ls ..; cd ..; pwd") == b"lib\n/usr\n"
    assert out(kernel, "umount /tmp/new; cat /usr/lib/notes.txt") == b"version two\n"  # the bind holds it
    assert sh(kernel, "echo B > /sys/devices/dcssblk/remove").status == 1
    assert out(kernel, "umount /usr/lib; cat /usr/lib/notes.txt; echo B > /sys/devices/dcssblk/remove") == (
        b"not a library\n"
    )


def test_mapping_through_a_bind_mount_copies_nothing(kernel: Kernel) -> None:
    out(kernel, "mkdir /tmp/lib; mount --bind /usr/lib /tmp/lib")
    map_files(kernel.init, "/tmp/lib/libone.so.1")
    map_files(kernel.init, "/usr/lib/libone.so.1")
    assert kernel.counters().page_cache_bytes == 0
    for path in ("/tmp/lib", "/"):
        with pytest.raises(KernelError) as caught:
            kernel.vfs.umount(path.encode())
        assert caught.value.errno == EBUSY  # what is mapped keeps its mount


def test_one_file_is_bound_over_another(kernel: Kernel) -> None:
    out(kernel, "mkdir /tmp/new; mount -o ro,xip /dev/dcssblk1 /tmp/new")
    out(kernel, "mount --bind /tmp/new/usr/lib/notes.txt /usr/lib/libtwo.so.2")
    assert out(kernel, "cat /usr/lib/libtwo.so.2") == b"version two\n"
    assert len(out(kernel, "cat /usr/lib/hard.so")) == 210_000  # another name of the same inode is not covered
    assert b"libtwo.so.2\n" in out(kernel, "ls /usr/lib")
    assert sh(kernel, "mount --bind /tmp/new/usr /usr/lib/notes.txt").err.endswith("Not a directory\n")
    assert sh(kernel, "mount --bind /tmp/new/usr/lib/notes.txt /usr").err.endswith("Not a directory\n")
    assert len(out(kernel, "umount /usr/lib/libtwo.so.2; cat /usr/lib/libtwo.so.2")) == 210_000


def test_mounts_over_each_other_come_off_in_turn(kernel: Kernel) -> None:
    out(kernel, "mount -o ro,xip /dev/dcssblk1 /usr/lib; mount -t tmpfs none /usr/lib; echo > /usr/lib/mine")
    assert (
        out(kernel, "ls /usr/lib; umount /usr/lib; ls /usr/lib; umount /usr/lib")
        == b"mine\netc\nlib\nlost+found\nusr\n"
    )
    assert b"libone.so.1\n" in out(kernel, "ls /usr/lib")
    assert sh(kernel, "umount /usr/lib").err == "umount: can't unmount /usr/lib: Invalid argument\n"


def test_a_working_directory_keeps_its_mount(kernel: Kernel) -> None:
    out(kernel, "mkdir /tmp/m; mount -o ro,xip /dev/dcssblk1 /tmp/m")
    busy = "umount: can't unmount {}: Device or resource busy\n"
    assert sh(kernel, "cd /tmp/m/usr; umount /tmp/m").err == busy.format("/tmp/m")
    assert sh(kernel, "cd /tmp/m; umount .; cd /; umount /tmp/m").err == busy.format(".")
    assert sh(kernel, "mount").lines[-1].startswith("tmpfs on /tmp")


def test_a_working_directory_stays_where_it_was_when_something_covers_it(kernel: Kernel) -> None:
    line = "cd /usr/lib; mount -o ro,xip /dev/dcssblk1 /usr/lib; cat notes.txt /usr/lib/notes.txt; cd ../lib; ls"
    ran = sh(kernel, line)
    assert ran.out.startswith(b"not a library\n")
    assert ran.err == "cat: /usr/lib/notes.txt: No such file or directory\n"
    assert ran.out.endswith(b"etc\nlib\nlost+found\nusr\n")  # .. and back leads onto what covers it


def test_bind_of_read_only_is_of_that_mount_alone(kernel: Kernel) -> None:
    out(kernel, "mkdir /tmp/a /tmp/b; mount --bind /tmp/a /tmp/b; mount -o remount,bind,ro /tmp/b; echo x > /tmp/a/f")
    assert sh(kernel, "echo y > /tmp/b/f").err == "sh: /tmp/b/f: Read-only file system\n"
    assert out(kernel, "cat /tmp/b/f") == b"x\n"
    assert [line for line in sh(kernel, "mount").lines if " /tmp/b " in line] == ["tmpfs on /tmp/b type tmpfs (ro)"]


def test_options_given_with_a_bind_are_the_new_mounts(kernel: Kernel) -> None:
    out(kernel, "mkdir /tmp/a /tmp/b; mount -o bind,ro,nodev /tmp/a /tmp/b; echo x > /tmp/a/f")
    assert sh(kernel, "echo y > /tmp/b/f").err == "sh: /tmp/b/f: Read-only file system\n"
    assert sh(kernel, "mount").lines[-1] == "tmpfs on /tmp/b type tmpfs (ro,nodev)"


def test_remounting_keeps_the_flags_that_it_does_not_name(kernel: Kernel) -> None:
    out(kernel, "mkdir /tmp/m; mount -t tmpfs -o nodev,noexec t /tmp/m")
    for options, in_force in (
        ("ro", "ro,nodev,noexec"),
        ("nosuid", "ro,nodev,noexec,nosuid"),
        ("rw,dev", "rw,noexec,nosuid"),
        ("bind,ro", "ro,noexec,nosuid"),
    ):
        out(kernel, f"mount -o remount,{options} /tmp/m")
        assert sh(kernel, "mount").lines[-1] == f"t on /tmp/m type tmpfs ({in_force})"


def test_what_is_covered_is_not_unmounted_by_its_source(kernel: Kernel) -> None:
    out(kernel, "mkdir /tmp/m; mount -o ro,xip /dev/dcssblk1 /tmp/m; mount -t tmpfs over /tmp/m")
    wanted = "umount: can't unmount /dev/dcssblk1: Invalid argument\n"
    assert sh(kernel, "umount /dev/dcssblk1").err == wanted
    assert sh(kernel, "mount").lines[-1] == "over on /tmp/m type tmpfs (rw)"
    assert sh(kernel, "umount over; mount -t tmpfs over /tmp; umount /dev/dcssblk1").err == wanted
    assert out(kernel, "umount over; umount /dev/dcssblk1; ls /tmp") == b"m\n"


def test_df_leaves_out_what_no_path_leads_to(kernel: Kernel) -> None:
    out(kernel, "mkdir /tmp/m; mount -t tmpfs under /tmp/m; mount -t tmpfs over /tmp")
    assert [line.split()[0] for line in sh(kernel, "df").lines] == ["Filesystem", "/dev/dcssblk0", "over"]


def test_rm_removes_what_it_found_below_a_mount(kernel: Kernel) -> None:
    line = "cd /tmp; touch f; mkdir d; touch d/x; mount -t tmpfs over /tmp; touch /tmp/f; mkdir /tmp/d; rm -r f d; ls"
    assert out(kernel, line) == b""
    assert out(kernel, "ls /tmp") == b"d\nf\n"


def test_remounting_waits_for_nobody_who_writes(kernel: Kernel) -> None:
    kernel.vfs.populate()
    assert sh(kernel, "echo > /tmp/log; mount -o remount,ro /tmp > /tmp/log").err == (
        "mount: remounting /tmp failed: Device or resource busy\n"
    )
    assert sh(kernel, "mount -o remount,ro /tmp; touch /tmp/x; mount -o remount,rw /tmp; touch /tmp/x").err == (
        "touch: cannot touch '/tmp/x': Read-only file system\n"
    )


def test_what_is_not_offered_is_refused_by_name(kernel: Kernel) -> None:
    assert sh(kernel, "mount --rbind /usr /tmp").err.startswith("mount: unrecognized option '--rbind'")
    assert (
        sh(kernel, "mount -t tmpfs -o huge=always none /tmp").err
        == "mount: mounting none on /tmp failed: Invalid argument\n"
    )


def test_descriptors_are_the_lowest_numbers_and_have_a_limit(kernel: Kernel) -> None:
    table = Descriptors(kernel.vfs, limit=4)
    path = b"/usr/lib/notes.txt"
    assert [table.open(path) for _ in range(4)] == [0, 1, 2, 3]
    makers: list[Callable[[], object]] = [
        lambda: table.open(path),
        lambda: table.dup(0),
        lambda: table.install(open_file(kernel.vfs, path)),
    ]
    for make in makers:
        with pytest.raises(KernelError) as caught:
            make()
        assert caught.value.errno == EMFILE
    table.close(1)
    table.close(2)
    assert (table.dup(0), table.dup(0, at_least=2)) == (1, 2)
    calls: list[tuple[Callable[[], object], int]] = [
        (lambda: table.get(9), EBADF),
        (lambda: table.dup2(0, 4), EBADF),
        (lambda: table.dup2(9, 0), EBADF),
        (lambda: table.dup(0, at_least=4), EINVAL),
        (lambda: table.open(b"x", directory=9), EMFILE),
    ]
    for each, errno in calls:
        with pytest.raises(KernelError) as caught:
            each()
        assert caught.value.errno == errno
    table.close_all()
    assert not any(mount.users for mount in kernel.vfs.mounts)


def test_a_child_shares_positions_and_outlives_its_parents_descriptors(kernel: Kernel) -> None:
    parent = Descriptors(kernel.vfs)
    directory = parent.open(b"/usr/lib")
    number = parent.open(b"notes.txt", directory=directory)
    child = parent.fork()
    buffer = memoryview(bytearray(4))
    assert parent.get(number).read(buffer) == 4
    assert child.get(number).position == 4
    parent.close_all()
    child.get(number).read(buffer)
    assert bytes(buffer) == b"a li"
    with pytest.raises(KernelError) as caught:
        kernel.vfs.umount(b"/")
    assert caught.value.errno == EBUSY
    child.close_all()
    kernel.vfs.umount(b"/")


def test_dup2_closes_what_the_number_meant_and_nothing_else(kernel: Kernel) -> None:
    table = Descriptors(kernel.vfs, limit=4)
    first, second = (table.open(path) for path in (b"/usr/lib/notes.txt", b"/usr/lib"))
    notes = table.get(first)
    assert table.dup2(first, first) == first
    assert table.dup2(first, second) == second
    assert table.dup2(first, 3) == 3
    assert [table.get(number) for number in (first, second, 3)] == [notes] * 3
    for number in (first, second):
        table.close(number)
    assert notes.file.size_bytes  # the last one still holds it
    table.close_all()
    assert not any(mount.users for mount in kernel.vfs.mounts)


def test_a_mount_point_stays_also_where_it_is_seen_through_another_mount(kernel: Kernel) -> None:
    out(kernel, "mkdir -p /tmp/a/m /tmp/b; mount -t tmpfs none /tmp/a/m; mount --bind /tmp/a /tmp/b")
    for command in ("rmdir /tmp/b/m", "mv /tmp/b/m /tmp/b/n", "rmdir /tmp/a/m"):
        assert "Device or resource busy" in sh(kernel, command).err
    out(kernel, "umount /tmp/a/m; mv /tmp/b/m /tmp/b/n; rmdir /tmp/a/n")
    assert out(kernel, "ls /tmp/a /tmp/b") == b"/tmp/a:\n\n/tmp/b:\n"
