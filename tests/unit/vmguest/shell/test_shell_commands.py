"""The shell's commands on a guest with ext2 in place at /, and files in real storage under /tmp."""

import hashlib
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import guest_kernel
from shell_support import out, sh, small_stack

from dcss.abi.page import PAGE_SIZE
from vmguest.kernel import Kernel
from vmguest.shell.commands.format import human, list_time
from vmguest.shell.shell import Shell
from vmguest.shell.table import COMMANDS
from vmguest.workload import map_files


def test_cat_sends_bytes_as_they_lie(kernel: Kernel, contents: dict[bytes, bytes]) -> None:
    for path, content in contents.items():
        assert out(kernel, [b"cat", b"/" + path]) == content
    assert kernel.counters().page_cache_bytes == 0
    both = contents[b"usr/lib/notes.txt"] * 2
    assert out(kernel, "cd /usr/lib; cat notes.txt ./notes.txt") == both
    ran = sh(kernel, "cat /usr /nosuch /usr/lib/loop /usr/lib/notes.txt/x /usr/lib/notes.txt")
    assert ran == (
        1,
        contents[b"usr/lib/notes.txt"],
        "cat: /usr: Is a directory\ncat: /nosuch: No such file or directory\n"
        "cat: /usr/lib/loop: Too many levels of symbolic links\ncat: /usr/lib/notes.txt/x: Not a directory\n",
    )


def test_a_file_in_place_crosses_the_shell_as_one_view(kernel: Kernel, contents: dict[bytes, bytes]) -> None:
    pieces: list[int] = []

    def take(data: "bytes | memoryview") -> None:
        assert isinstance(data, memoryview)
        pieces.append(len(data))

    assert Shell(kernel).run("cat /usr/lib/libone.so.1", take, take) == 0
    assert sum(pieces) == len(contents[b"usr/lib/libone.so.1"])
    assert len(pieces) <= 3  # runs of contiguous blocks, whatever mke2fs put in between


def test_digests_of_every_file_are_hashlibs(kernel: Kernel, contents: dict[bytes, bytes]) -> None:
    for path, content in contents.items():
        for command, new in (("sha256sum", hashlib.sha256), ("md5sum", hashlib.md5)):
            wanted = new(content).hexdigest().encode() + b"  /" + path + b"\n"
            assert out(kernel, [command.encode(), b"/" + path]) == wanted
    assert kernel.counters().page_cache_bytes == 0  # hashed in place
    assert sh(kernel, "sha256sum /usr").err == "sha256sum: /usr: Is a directory\n"


def test_copies_are_page_cache_and_equal(kernel: Kernel, contents: dict[bytes, bytes]) -> None:
    out(kernel, "cp /usr/lib/libone.so.1 /etc/sparse /tmp; cp /tmp/sparse /tmp/again")
    assert out(kernel, "cat /tmp/libone.so.1") == contents[b"usr/lib/libone.so.1"]
    assert out(kernel, "cat /tmp/again") == contents[b"etc/sparse"]
    pages = sum(-(-len(contents[path]) // PAGE_SIZE) for path in (b"usr/lib/libone.so.1", b"etc/sparse", b"etc/sparse"))
    assert kernel.counters().page_cache_bytes == pages * PAGE_SIZE
    out(kernel, "rm /tmp/libone.so.1 /tmp/sparse /tmp/again")
    assert kernel.counters().page_cache_bytes == 0


@pytest.mark.parametrize(
    ("line", "err"),
    [
        ("cp /nosuch /tmp", "cp: cannot stat '/nosuch': No such file or directory\n"),
        ("cp /usr /tmp/x", "cp: -r not specified; omitting directory '/usr'\n"),
        ("cp /usr/lib/notes.txt /usr/x", "cp: cannot copy '/usr/lib/notes.txt' to '/usr/x': Read-only file system\n"),
        ("cp /etc/sparse /usr/lib/notes.txt /tmp/x", "cp: Not a directory\n"),
        ("echo a > /tmp/x; cp /tmp/x /tmp/../tmp/x", "cp: '/tmp/x' and '/tmp/../tmp/x' are the same file\n"),
        ("cp /lib/hard.so /lib/libtwo.so.2", "cp: '/lib/hard.so' and '/lib/libtwo.so.2' are the same file\n"),
        ("mkdir /etc/x /tmp/a /tmp/a", "mkdir: cannot create directory '/etc/x': Read-only file system\n"
         "mkdir: cannot create directory '/tmp/a': File exists\n"),
        ("mkdir /tmp/a/b", "mkdir: cannot create directory '/tmp/a/b': No such file or directory\n"),
        ("echo > /tmp/f; mkdir -p /tmp/f/g", "mkdir: cannot create directory '/tmp/f/g': Not a directory\n"),
        ("rmdir /usr /tmp", "rmdir: failed to remove '/usr': Read-only file system\n"
         "rmdir: failed to remove '/tmp': Read-only file system\n"),
        ("mkdir /tmp/m; mount -t tmpfs none /tmp/m; rmdir /tmp/m",
         "rmdir: failed to remove '/tmp/m': Device or resource busy\n"),
        ("rm /nosuch /usr/lib/notes.txt /tmp", "rm: cannot remove '/nosuch': No such file or directory\n"
         "rm: cannot remove '/usr/lib/notes.txt': Read-only file system\n"
         "rm: cannot remove '/tmp': Is a directory\n"),
        ("rm -r / /tmp/..", "rm: refusing to remove '.', '..' or '/': '/'\n"
         "rm: refusing to remove '.', '..' or '/': '/tmp/..'\n"),
        ("mkdir /tmp/d; rm /tmp/d", "rm: cannot remove '/tmp/d': Is a directory\n"),
        ("touch /usr/x", "touch: cannot touch '/usr/x': Read-only file system\n"),
        ("ln -s a /tmp/l; ln -s b /tmp/l", "ln: failed to create symbolic link '/tmp/l': File exists\n"),
        ("readlink /usr", "readlink: /usr: Invalid argument\n"),
        ("ls /nosuch", "ls: cannot access '/nosuch': No such file or directory\n"),
        ("stat /nosuch", "stat: cannot stat '/nosuch': No such file or directory\n"),
        ("find /nosuch", "find: '/nosuch': No such file or directory\n"),
        ("cd /nosuch", "cd: /nosuch: No such file or directory\n"),
        ("cd /usr/lib/notes.txt", "cd: /usr/lib/notes.txt: Not a directory\n"),
        ("df /nosuch", "df: /nosuch: No such file or directory\n"),
        ("umount /usr", "umount: can't unmount /usr: Invalid argument\n"),
        ("umount /", "umount: can't unmount /: Device or resource busy\n"),
        ("mount /dev/dcssblk9 /tmp", "mount: mounting /dev/dcssblk9 on /tmp failed: No such file or directory\n"),
        ("mount /dev/dcssblk1 /nosuch", "mount: mounting /dev/dcssblk1 on /nosuch failed: No such file or directory\n"),
        ("mount /dev/dcssblk1 /usr/lib/notes.txt",
         "mount: mounting /dev/dcssblk1 on /usr/lib/notes.txt failed: Not a directory\n"),
        ("mount -o fast /dev/dcssblk1 /tmp", "mount: mounting /dev/dcssblk1 on /tmp failed: Invalid argument\n"),
    ],
)  # fmt: skip
def test_refusals_in_the_words_that_people_know(kernel: Kernel, line: str, err: str) -> None:
    ran = sh(kernel, line)
    assert (ran.status, ran.err) == (1, err)


def test_mkdir_touch_rm_ln_and_readlink(bare: Kernel) -> None:
    assert out(bare, "mkdir -p /tmp/a/b/c /tmp/a; touch /tmp/a/b/x; ln -s b/x /tmp/a/l; ls -R /tmp") == (
        b"/tmp:\na\n\n/tmp/a:\nb\nl\n\n/tmp/a/b:\nc\nx\n\n/tmp/a/b/c:\n"
    )
    assert out(bare, "readlink /tmp/a/l; readlink -f /tmp/a/l; ln -sf /tmp /tmp/a/l; readlink /tmp/a/l") == (
        b"b/x\n/tmp/a/b/x\n/tmp\n"
    )
    assert out(bare, "ln -s /etc /tmp/e; ln -s x /tmp/e; readlink /etc/x") == b"x\n"
    assert out(bare, "rm -rf /tmp/a /tmp/nosuch /tmp/e; ls /tmp; touch -c /tmp/no; ls /tmp") == b""
    assert out(bare, "mkdir /x; rmdir /x; ls /") == b"dev\netc\nmnt\nproc\nroot\nsys\ntmp\n"


def test_trees_deeper_than_pythons_stack(bare: Kernel) -> None:
    with small_stack() as depth:
        out(bare, [b"mkdir", b"-p", b"/tmp/" + b"a/" * depth])
        assert len(out(bare, "find /tmp").splitlines()) == depth + 1
        assert out(bare, "ls -R /tmp").endswith(b"a:\n")
        assert out(bare, "rm -r /tmp/a; ls /tmp") == b""
    assert sh(bare, "ln -s / /tmp/l; rm -r /tmp/l/").err == "rm: cannot remove '/tmp/l/': Device or resource busy\n"


@pytest.mark.parametrize("digits", ["9" * 20, "9" * 5000])
def test_numbers_that_no_register_holds_are_refused(bare: Kernel, digits: str) -> None:
    ran = sh(bare, f"head -n {digits} /etc/hostname")
    assert ran.status == 2
    assert ran.err.startswith(f"head: invalid number of lines: '{digits}': Value too large")
    assert out(bare, f"head -n {'0' * 5000}1 /etc/hostname") == b"LINUX\n"


def test_mknod_takes_numbers_that_a_device_can_have(bare: Kernel) -> None:
    wrong = sh(bare, "mknod /tmp/x b 4096 0; mknod /tmp/x c 0 1048576")
    assert wrong.err == "mknod: /tmp/x: Invalid argument\n" * 2
    assert out(bare, "mknod /tmp/x b 4095 1048575; ls -l /tmp/x").startswith(b"brw-r--r-- 1 root root 4095, 1048575 ")


def test_ls(kernel: Kernel) -> None:
    assert out(kernel, "ls / /usr") == b"/:\ndev\netc\nlib\nlost+found\nproc\nsys\ntmp\nusr\n\n/usr:\nlib\n"
    assert out(kernel, "ls -d / /usr; cd /usr; ls; ls lib/notes.txt .") == b"/\n/usr\nlib\nlib/notes.txt\n\n.:\nlib\n"
    assert out(kernel, "cd /tmp; echo > .h; ls; ls -A; ls -a") == b".h\n.\n..\n.h\n"
    assert out(kernel, "ls /lib/libone.so; ls -l /lib").endswith(b" /lib -> usr/lib\n")
    (inode, mode, links, owner, group, size, *_), link = (
        line.split() for line in sh(kernel, "ls -li /usr/lib/libtwo.so.2 /usr/lib/libone.so").lines[::-1]
    )
    ids = (os.geteuid(), os.getegid())  # mke2fs took them from the tree's files; root alone has a name
    assert (mode, links, size) == ("-rw-r--r--", "2", "210000")
    assert (owner, group) == tuple("root" if number == 0 else str(number) for number in ids)
    assert int(inode) == kernel.vfs.resolve(b"/usr/lib/hard.so").inode.number
    assert link[-3:] == ["/usr/lib/libone.so", "->", "libone.so.1"]
    first = sh(kernel, "ls -l /usr/lib").lines[0]
    assert (
        first == f"total {sum(n.inode.blocks_512 for n in kernel.vfs.children(kernel.vfs.resolve(b'/usr/lib'))) // 2}"
    )


def test_ls_aligns_its_columns(bare: Kernel) -> None:
    lines = sh(bare, "echo > /tmp/small; echo 123456789 > /tmp/big; mkdir /tmp/d; ls -l /tmp").lines[1:]
    assert len({re.search(r" \S+ +\d+ \d\d:\d\d ", line).start() for line in lines}) == 1  # type: ignore[union-attr]
    assert [line.split()[4] for line in lines] == ["10", "0", "1"]


def test_times_are_shown_as_ls_does(bare: Kernel) -> None:
    now = int(time.time())
    assert re.fullmatch(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d", list_time(now))
    assert list_time(0) == "Jan  1  1970"
    assert re.fullmatch(r"[A-Z][a-z]{2} [ \d]\d  \d{4}", list_time(now + 90_000))
    out(bare, "echo > /tmp/x")
    assert now <= int(out(bare, "stat -c %Y /tmp/x")) <= time.time()


def test_stat(kernel: Kernel) -> None:
    inode = kernel.vfs.resolve(b"/usr/lib/libone.so.1").inode
    form = "stat -c '%n|%s|%a|%A|%h|%u|%g|%F|%b|%B|%i|%f|100%%' /usr/lib/libone.so.1 /lib"
    first, second = sh(kernel, form).lines
    numbers = f"{inode.blocks_512}|512|{inode.number}|81a4|100%"
    user, group = os.geteuid(), os.getegid()  # of the tree's files, and so of the image's
    assert first == f"/usr/lib/libone.so.1|1024000|644|-rw-r--r--|1|{user}|{group}|regular file|{numbers}"
    assert second.split("|")[7] == "symbolic link"
    assert out(kernel, "stat -L -c %F /lib; echo > /tmp/e; stat -c %F /tmp/e /proc/version") == (
        b"directory\nregular file\nregular empty file\n"
    )
    lines = sh(kernel, "stat /usr/lib/libone.so").lines
    assert lines[0] == "  File: /usr/lib/libone.so -> libone.so.1"
    assert lines[2].startswith("Device: 252,0\tInode: ")
    names = ("root" if number == 0 else str(number) for number in (user, group))
    shown = [f"({number:5d}/{name:>8})" for number, name in zip((user, group), names, strict=True)]
    assert lines[3] == f"Access: (0777/lrwxrwxrwx)  Uid: {shown[0]}   Gid: {shown[1]}"
    assert re.fullmatch(r"Modify: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.000000000 \+0000", lines[5])
    assert sh(kernel, "stat -c %q /usr").status == 2


def test_find(kernel: Kernel) -> None:
    assert out(kernel, "find /usr -type d; cd /usr/lib; find . -name '*three*'; find -name loop -type l") == (
        b"/usr\n/usr/lib\n/usr/lib/deep\n/usr/lib/deep/er\n./deep/er/libthree.so\n./loop\n"
    )
    found = sh(kernel, "find / -maxdepth 1 -type d").lines
    assert sorted(found) == ["/", "/dev", "/etc", "/lost+found", "/proc", "/sys", "/tmp", "/usr"]
    assert out(kernel, "find /proc -name 'm*'") == b"/proc/meminfo\n/proc/modules\n/proc/mounts\n"
    for wrong in ("find / -size 1", "find / -type x", "find / -name", "find / -maxdepth x"):
        assert sh(kernel, wrong).status == 2, wrong


@pytest.mark.parametrize("options", ["", "-l", "-w", "-c", "-lw", "-lc"])
def test_wc_counts_and_aligns_as_coreutils(bare: Kernel, tmp_path: Path, options: str) -> None:
    texts = {"a": "one two\nthree\n", "b": "", "c": " x " * 9000 + "\n\n", "d": "no newline"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        out(bare, ["echo", "-n", text, ">", f"/tmp/{name}"])
    command = ["wc", *options.split()]
    for names in (["a"], ["a", "b", "c", "d"]):
        theirs = subprocess.run([*command, *names], cwd=tmp_path, env={"LC_ALL": "C"}, capture_output=True, check=True)
        assert out(bare, f"cd /tmp; {' '.join([*command, *names])}") == theirs.stdout


def test_words_across_the_ends_of_pieces(bare: Kernel) -> None:
    text = "a" * 3000 + " " + "b" * 3000 + "\n" + " c" * 2000
    out(bare, ["echo", "-n", text, ">", "/tmp/x"])
    assert out(bare, "wc -w /tmp/x") == b"2002 /tmp/x\n"


def test_head(kernel: Kernel, contents: dict[bytes, bytes]) -> None:
    one = contents[b"usr/lib/libone.so.1"]
    ten = b"".join(line + b"\n" for line in one.split(b"\n")[:10])
    assert out(kernel, "head /usr/lib/libone.so.1") == ten
    assert out(kernel, "head -n 3000 /usr/lib/libone.so.1") == b"\n".join(one.split(b"\n")[:3000]) + b"\n"
    assert out(kernel, "head -n 5000 /usr/lib/libone.so.1") == one
    assert out(kernel, "head -2 /usr/lib/notes.txt; head -n 0 /usr/lib/notes.txt; head -c 3 /usr/lib/notes.txt") == (
        b"not a library\nnot"
    )
    assert out(kernel, "head -c 3 /usr/lib/notes.txt /usr/lib/libtwo.so.2") == (
        b"==> /usr/lib/notes.txt <==\nnot\n==> /usr/lib/libtwo.so.2 <==\ntwo"
    )


def test_hexdump_is_as_hexdump_shows_it(kernel: Kernel) -> None:
    assert out(kernel, "hexdump -C -s 4 -n 20 /usr/lib/notes.txt") == (
        b"00000004  61 20 6c 69 62 72 61 72  79 0a                    |a library.|\n0000000e\n"
    )
    lines = sh(kernel, "hexdump -C /etc/sparse").lines
    assert lines[1:5] == [
        "00000010  68 68 68 68 68 68 68 68  68 68 68 68 68 68 68 68  |hhhhhhhhhhhhhhhh|",
        "*",
        "00003000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|",
        "*",
    ]
    assert sh(kernel, "hexdump /etc/sparse").status == 2
    assert out(kernel, "hexdump -C /usr/lib/empty.so") == b""


def test_mount_lists_mounts_and_umount_ends_them(kernel: Kernel, contents: dict[bytes, bytes]) -> None:
    out(kernel, "mkdir /tmp/m; mount -t ext2 -o ro,xip /dev/dcssblk1 /tmp/m")
    assert sh(kernel, "mount").lines == [
        "rootfs on / type rootfs (rw)",
        "/dev/dcssblk0 on / type ext2 (ro,xip)",
        "proc on /proc type proc (ro)",
        "sysfs on /sys type sysfs (rw)",
        "devtmpfs on /dev type devtmpfs (ro)",
        "tmpfs on /tmp type tmpfs (rw)",
        "/dev/dcssblk1 on /tmp/m type ext2 (ro,xip)",
    ]
    assert (
        out(kernel, "cat /tmp/m/usr/lib/notes.txt; umount /dev/dcssblk1; ls /tmp/m") == contents[b"usr/lib/notes.txt"]
    )
    out(kernel, "cd /tmp; mount -r /dev/dcssblk1 m; umount m")
    assert "unknown filesystem type 'ext4'" in sh(kernel, "mount -t ext4 /dev/dcssblk1 /tmp/m").err


def test_df(kernel: Kernel) -> None:
    header, ext2, tmpfs = (line.split() for line in sh(kernel, "df").lines)
    assert header == ["Filesystem", "1K-blocks", "Used", "Available", "Use%", "Mounted", "on"]
    block = kernel.vfs.resolve(b"/usr").mount.file_system.statfs()
    assert ext2[0] == "/dev/dcssblk0"
    assert [int(ext2[1]), int(ext2[2])] == [block.blocks * 4, (block.blocks - block.free_blocks) * 4]
    assert block.blocks < 2048  # of 8 MiB, without the blocks of metadata
    assert (tmpfs[0], int(tmpfs[1]) * 1024, tmpfs[2]) == ("tmpfs", kernel.machine.storage.free_bytes, "0")
    out(kernel, "cp /usr/lib/libone.so.1 /tmp")
    assert sh(kernel, "df /tmp/libone.so.1").lines[1].split()[2:3] == ["1000"]
    assert sh(kernel, "df -h /").lines[1].split()[1] == "7.5M"
    assert sh(kernel, "df /proc").lines[1].split() == ["proc", "0", "0", "0", "-", "/proc"]


@pytest.mark.parametrize(
    ("size_bytes", "wanted"),
    [(0, "0"), (1023, "1023"), (1024, "1.0K"), (1025, "1.1K"), (10 << 10, "10K"), (10241, "11K"), (8 << 20, "8.0M"),
     ((1 << 30) - 1, "1.0G"), (1 << 40, "1.0T"), (9 << 60, "9216P")],
)  # fmt: skip
def test_human_sizes_round_up(size_bytes: int, wanted: str) -> None:
    assert human(size_bytes) == wanted


def test_free_shows_what_the_guest_instantiated(kernel: Kernel) -> None:
    def memory(option: str = "-b") -> list[int]:
        lines = sh(kernel, f"free {option}").lines
        assert lines[0].split() == ["total", "used", "free", "shared", "buff/cache", "available"]
        assert lines[2].split() == ["Swap:", "0", "0", "0"]
        return [int(word) for word in lines[1].split()[1:]]

    total, used, free, shared, cache, available = memory()
    assert total == (64 << 20) - 2 * PAGE_SIZE
    assert (total, available, shared, cache) == (used + free + cache, free, 0, 0)
    out(kernel, "cat /usr/lib/libone.so.1 /usr/lib/libtwo.so.2")
    map_files(kernel.init, "/usr/lib/*.so*")
    assert memory() == [total, used, free, shared, cache, available]  # segments are not the guest's
    out(kernel, "cp /usr/lib/libone.so.1 /tmp")
    assert memory() == [total, used, free - 1_024_000, 1_024_000, 1_024_000, available - 1_024_000]
    assert memory("")[0] == memory("-k")[0] == total >> 10
    assert memory("-m")[0] == total >> 20
    assert "64Mi" in sh(kernel, "free -h").lines[1]


def test_the_guest_names_itself(control_program: BlockingCp) -> None:
    with guest_kernel(control_program, "LINUX07") as kernel:
        kernel.name = "LINUX07"
        assert out(kernel, "hostname; uname -n; uname; uname -m; cat /etc/hostname") == (
            b"LINUX07\nLINUX07\nLinux\ns390x\nLINUX07\n"
        )
        assert out(kernel, "uname -a").startswith(b"Linux LINUX07 3.13.0-dcss #1 ")
        assert sh(kernel, "hostname x").status == 2


def test_small_ones(kernel: Kernel) -> None:
    assert out(kernel, "echo; echo a  b; echo -n x; echo -n -n y; echo -e '\\n'") == b"\na b\nxy-e \\n\n"
    assert out(kernel, "cd usr; pwd; cd lib; pwd; cd ..; pwd; cd /lib; pwd; cd; pwd") == (
        b"/usr\n/usr/lib\n/usr\n/usr/lib\n/\n"
    )
    assert b"PATH=/usr/local/sbin:" in out(kernel, "cd /usr; env")
    assert out(kernel, "cd /usr; env").endswith(b"PWD=/usr\n")
    assert out(kernel, "dmesg").count(b"dcssblk: Loaded ") == 2
    usages = sh(kernel, "help").lines
    assert usages == sorted(usages)
    assert {os.fsencode(usage.split()[0]) for usage in usages} == set(COMMANDS)


def test_names_that_are_not_utf8_come_out_as_they_are(bare: Kernel) -> None:
    assert (
        out(bare, b"echo x > /tmp/\xff\xc3; cd /tmp; ls; find . -name '?*' -type f; cat *")
        == b"\xff\xc3\n./\xff\xc3\nx\n"
    )
    assert sh(bare, [b"cat", b"/\xff"]).err == "cat: /\udcff: No such file or directory\n"


def test_a_damaged_image_is_an_error_of_the_command_and_a_line_in_the_log(kernel: Kernel) -> None:
    inode = kernel.vfs.resolve(b"/usr/lib/libone.so.1").inode
    number = inode.number
    inode.block_pointers = (1 << 30, *inode.block_pointers[1:])  # type: ignore[attr-defined]
    ran = sh(kernel, "cat /usr/lib/libone.so.1; sha256sum /usr/lib/libone.so.1")
    assert (ran.status, ran.out) == (1, b"")
    why = "/usr/lib/libone.so.1: Structure needs cleaning\n"
    assert ran.err == f"cat: {why}sha256sum: {why}"
    assert f"inode {number}: i_block[0]" in kernel.log.messages("crit")[-1]


def test_dcssblk_is_worked_through_sysfs(kernel: Kernel) -> None:
    assert out(kernel, "cat /sys/devices/dcssblk/B/seglist /sys/devices/dcssblk/B/shared") == b"B\n1\n"
    assert out(kernel, "readlink -f /sys/devices/dcssblk/B/block") == b"/sys/block/dcssblk1\n"
    out(kernel, "echo B > /sys/devices/dcssblk/remove")
    gone = sh(kernel, "cat /sys/devices/dcssblk/B/seglist")
    assert gone.status == 1
    busy = sh(kernel, "echo A > /sys/devices/dcssblk/remove")
    assert busy.status != 0
    assert "dcssblk: Device A cannot be removed while it is in use" in kernel.log.messages("warn")


def test_vmcp_has_cp_execute_commands(bare: Kernel) -> None:
    assert out(bare, "vmcp query userid").startswith(b"LINUX    AT ")
    assert out(bare, "vmcp defseg new 3000-30ff sw; vmcp 'saveseg new'").count(b"successfully") == 2
    assert b"NEW " in out(bare, "vmcp q nss map")
    ran = sh(bare, "vmcp nonsense")
    assert (ran.status, ran.out) == (1, b"HCPCMD001E Unknown CP command: NONSENSE\n")
    assert ran.err == "vmcp: non-zero CP response for command 'NONSENSE': #1\n"
    assert "'nonsense'" in sh(bare, "vmcp -k nonsense").err
    assert sh(bare, "vmcp").status == sh(bare, "vmcp -x q").status == sh(bare, "vmcp '\u2603'").status == 4


def test_vmcp_gives_no_command_that_was_cut_and_says_what_linux_refused(bare: Kernel) -> None:
    longest = "defseg long 3000-30ff sw".ljust(240, "x")
    assert sh(bare, ["vmcp", longest]).status == 1
    assert sh(bare, ["vmcp", f"{longest} "]) == (3, b"", "vmcp: Invalid argument\n")
    assert out(bare, "vmcp q nss") == b"NO NSS FILES\n"
    bare.machine.storage.allocate(bare.machine.storage.free_bytes // PAGE_SIZE)
    assert sh(bare, "vmcp q userid") == (3, b"", "vmcp: Cannot allocate memory\n")


def test_vmcp_takes_the_size_of_its_buffer(bare: Kernel) -> None:
    whole = out(bare, "vmcp q userid")
    for words in ("--buffer=4096", "--buffer 8k", "-b 1M", "-b1m", "--keep-case --buffer 4K"):
        assert out(bare, f"vmcp {words} Q USERID") == whole
    for words in ("--buffer=4095", "--buffer 2M", "-b x", "--buffer=", "--buffers=4096", "-b"):
        assert sh(bare, f"vmcp {words} Q USERID").status == 4
    for number in range(80):
        assert sh(bare, f"vmcp defseg s{number} {number:x}00-{number:x}ff sw").status == 0
    short = sh(bare, "vmcp --buffer=4096 q nss map")
    assert (short.status, len(short.out)) == (2, 4096)
    assert "the response was cut" in short.err
    assert len(out(bare, "vmcp -b 8k q nss map")) > 4096


def test_vmcp_of_a_guest_without_class_e(bare: Kernel, control_program: BlockingCp) -> None:
    control_program.machines["LINUX"].privileges = frozenset("G")
    assert sh(bare, "vmcp q nss").out == b"HCPCQU003E Invalid option - NSS\n"
    assert out(bare, "vmcp q userid").startswith(b"LINUX")
