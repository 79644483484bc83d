"""Wrong YAML files, each with the lines that it must give, as ``LINE: FIELD: found X, wanted Y (hint)``."""

from typing import NamedTuple

SEGMENT = """\
segments:
  - name: LIB
    at: 0x20000000
    image: {files: [/etc/hostname]}
"""


class WrongConfig(NamedTuple):
    """`text` is the file; `findings` are its lines on stderr without the file's name."""

    name: str
    text: str | bytes
    findings: tuple[str, ...]


def _segment(entry: str) -> str:
    return f"segments:\n  - {entry}\n"


def _guest(entry: str) -> str:
    return f"{SEGMENT}guests:\n  - {entry}\n"


_SIZES = "a size such as 64M, 1G, 4096, 512KiB or 0x4000000"
_NAME = "1 to 8 characters of A-Z 0-9 @ # $"

WRONG_CONFIGS = (
    WrongConfig(
        "misspelt-key-of-engine-s390x",
        _guest("{name: A, engine: s390x, stroage: 64M}"),
        (
            "6: guests[0].stroage: found an unknown key, wanted one of name, count, numbers, engine, storage,"
            " namesave, privilege, dcssblk, mounts, disks, expect, run, after, restart, boot, time_limit (did you mean"
            " storage?)",
        ),
    ),
    WrongConfig(
        "unknown-top-key",
        SEGMENT + "guest: []\n",
        ("5: guest: found an unknown key, wanted one of system, segments, guests (did you mean guests?)",),
    ),
    WrongConfig(
        "misspelt-key",
        _guest("{name: A, stroage: 64M}"),
        (
            "6: guests[0].stroage: found an unknown key, wanted one of name, count, numbers, engine, storage,"
            " namesave, privilege, dcssblk, mounts, disks, expect, run, after, restart, boot (did you mean storage?)",
        ),
    ),
    WrongConfig(
        "more-devices-than-the-driver-takes",
        "segments:\n"
        + "".join(
            f"  - {{name: SEGM{n:04d}, define: [{0x20000 + n * 256:X}-{0x200FF + n * 256:X} SN]}}\n" for n in range(45)
        )
        + "guests:\n  - {name: A, dcssblk: [SEGM0000]}\n  - {name: B}\n",
        (
            "49: guests[1].dcssblk: found 45 devices, 404 characters as the driver's segments=, wanted at most 399, as"
            " Linux takes (add others in the guest, by /sys/devices/dcssblk/add)",
        ),
    ),
    WrongConfig(
        "after-nobody",
        _guest("{name: A, count: 2, after: [BB]}") + "  - {name: B}\n",
        ("6: guests[0].after[0]: found 'BB', wanted the name of a guest of this file (did you mean B?)",),
    ),
    WrongConfig(
        "after-in-a-circle",
        _guest("{name: A, after: [B]}")
        + "  - {name: B, after: [C]}\n  - {name: C, after: [A]}\n  - {name: D, after: [D]}\n",
        (
            "6: guests[0].after: found A after B after C after A, wanted guests that can start, one after the other",
            "9: guests[3].after: found D after D, wanted guests that can start, one after the other",
        ),
    ),
    WrongConfig(
        "unknown-key-without-likeness",
        SEGMENT + "x: 1\n",
        ("5: x: found an unknown key, wanted one of system, segments, guests",),
    ),
    WrongConfig(
        "wrong-type-number",
        _guest("{name: 7}"),
        ("6: guests[0].name: found 7, wanted text (quote it)",),
    ),
    WrongConfig(
        "wrong-type-boolean",
        _guest("{name: NO}"),
        ("6: guests[0].name: found NO, which YAML reads as false, wanted text (quote it)",),
    ),
    WrongConfig(
        "wrong-type-list",
        _segment("{name: A, at: 1M, image: {files: /usr/lib}}"),
        ("2: segments[0].image.files: found '/usr/lib', wanted a list (write it in brackets)",),
    ),
    WrongConfig(
        "wrong-type-mapping",
        _guest("LINUX"),
        ("6: guests[0]: found 'LINUX', wanted a mapping",),
    ),
    WrongConfig(
        "empty-value",
        _guest("name: A\n    storage:"),
        (f"7: guests[0].storage: found nothing, wanted {_SIZES}",),
    ),
    WrongConfig(
        "missing-key",
        _segment("{at: 1M, image: {files: [/x]}}"),
        ("2: segments[0].name: found nothing, wanted this key",),
    ),
    WrongConfig("missing-segments", "guests: []\n", ("1: segments: found nothing, wanted this key",)),
    WrongConfig("no-segments", "segments: []\n", ("1: segments: found an empty list, wanted at least one entry",)),
    WrongConfig(
        "lower-case-segment-name",
        _segment("{name: lib, at: 1M, image: {files: [/x]}}"),
        (f"2: segments[0].name: found 'lib', wanted {_NAME} (in upper case)",),
    ),
    WrongConfig(
        "long-segment-name",
        _segment("{name: LIBRARIES, at: 1M, image: {files: [/x]}}"),
        (f"2: segments[0].name: found 'LIBRARIES', wanted {_NAME}",),
    ),
    WrongConfig(
        "bad-range-words",
        _segment('{name: A, define: ["20000 SR"], image: {files: [/x]}}'),
        ("2: segments[0].define[0]: found '20000 SR', wanted HEXPAGE-HEXPAGE TYPE, such as '20000-23FFF SR'",),
    ),
    WrongConfig(
        "bad-range-type",
        _segment('{name: A, define: ["20000-23FFF RX"], image: {files: [/x]}}'),
        ("2: segments[0].define[0]: found '20000-23FFF RX', wanted one of SW EW SR ER SN EN SC",),
    ),
    WrongConfig(
        "descending-range",
        _segment('{name: A, define: ["20000-1FFFF SR"], image: {files: [/x]}}'),
        ("2: segments[0].define[0]: found '20000-1FFFF SR', wanted first-last in ascending order",),
    ),
    WrongConfig(
        "overlapping-ranges",
        _segment('{name: A, define: ["20000-200FF EW", "200FF-201FF EN"], image: {files: [/x]}}'),
        (
            "2: segments[0].define: found ranges 20000-200FF EW and 200FF-201FF EN overlap or are not in ascending"
            " order, wanted ranges that go together",
        ),
    ),
    WrongConfig(
        "mixed-megabyte",
        _segment('{name: A, define: ["20000-2000F EW", "20010-2001F SR"], image: {files: [/x]}}'),
        (
            "2: segments[0].define: found ranges 20000-2000F EW and 20010-2001F SR lie in one megabyte, whose 256 pages"
            " must be all exclusive or all shared, wanted ranges that go together",
        ),
    ),
    WrongConfig(
        "too-large-segment",
        _segment('{name: A, define: ["20000-9FFFF SR"], image: {files: [/x]}}'),
        ("2: segments[0].define: found spans 2147483648 bytes, wanted at most 2146435072 (2047 MiB)",),
    ),
    WrongConfig(
        "define-and-at",
        _segment('{name: A, define: ["20000-200FF SR"], at: 1M, image: {files: [/x]}}'),
        ("2: segments[0].at: found at: beside define:, wanted either define: or at:, type: and size:",),
    ),
    WrongConfig(
        "neither-define-nor-at",
        _segment("{name: A, image: {files: [/x]}}"),
        ("2: segments[0]: found neither define: nor at:, wanted one of them, which says where the segment lies",),
    ),
    WrongConfig(
        "bad-segment-type",
        _segment("{name: A, at: 1M, type: sr, image: {files: [/x]}}"),
        ("2: segments[0].type: found 'sr', wanted one of SW, EW, SR, ER, SN, EN, SC (did you mean SR?)",),
    ),
    WrongConfig(
        "address-off-page",
        _segment("{name: A, at: 1000, image: {files: [/x]}}"),
        ("2: segments[0].at: found 1000, wanted a multiple of 4096 above 0",),
    ),
    WrongConfig(
        "address-too-high",
        _segment("{name: A, at: 512G, image: {files: [/x]}}"),
        ("2: segments[0].at: found '512G', wanted an address below 0x8000000000",),
    ),
    WrongConfig(
        "end-too-high",
        _segment("{name: A, at: 0x7ffffff000, size: 8K, image: {files: [/x]}}"),
        ("2: segments[0].size: found an end above 0x8000000000, wanted a segment below that address",),
    ),
    WrongConfig(
        "empty-image",
        _segment("{name: A, at: 1M, image: }"),
        ("2: segments[0].image: found nothing, wanted a value (or leave the key out)",),
    ),
    WrongConfig(
        "save-without-image",
        _segment("{name: A, save: true}"),
        ("2: segments[0].save: found save: without image:, wanted it only beside image:, which says what is saved",),
    ),
    WrongConfig(
        "size-without-place",
        _segment("{name: A, type: EW, size: 1M}"),
        (
            "2: segments[0].size: found size: without at:, wanted it only beside at:",
            "2: segments[0].type: found type: without at:, wanted it only beside at:",
        ),
    ),
    WrongConfig(
        "bad-privilege",
        _guest("{name: A, privilege: EGE}"),
        (
            "6: guests[0].privilege: found 'EGE', wanted CP's privilege classes, each a letter of A to G once, such as"
            " EG",
        ),
    ),
    WrongConfig(
        "bad-namesave",
        _guest("{name: A, namesave: [SECRET, lib]}"),
        (f"6: guests[0].namesave[1]: found 'lib', wanted {_NAME} (in upper case)",),
    ),
    WrongConfig(
        "namesave-as-text",
        _guest("{name: A, namesave: SECRET}"),
        ("6: guests[0].namesave: found 'SECRET', wanted a list (write it in brackets)",),
    ),
    WrongConfig(
        "debian-words",
        _segment(
            "{name: A, at: 1M, image: {debian: {packages: [-x, 'b c'], arch: S390, mirror: 'a b', keyring: /none}}}"
        ),
        (
            "2: segments[0].image.debian.packages[0]: found '-x', wanted the name of a package, such as bash, or"
            " NAME=VERSION",
            "2: segments[0].image.debian.packages[1]: found 'b c', wanted the name of a package, such as bash, or"
            " NAME=VERSION",
            "2: segments[0].image.debian.arch: found 'S390', wanted an architecture as Debian calls it, such as s390x"
            " or amd64",
            "2: segments[0].image.debian.mirror: found 'a b', wanted the address of an archive: http://, https://"
            " or file:/ and no spaces",
        ),
    ),
    WrongConfig(
        "debian-keyring",
        _segment("{name: A, at: 1M, image: {debian: {packages: [bash], keyring: /none}}}"),
        ("2: segments[0].image.debian.keyring: found nothing at /none, wanted a file with keys",),
    ),
    WrongConfig(
        "two-images",
        _segment("{name: A, at: 1M, image: {directory: /etc, tar: /x}}"),
        (
            "2: segments[0].image: found directory and tar, wanted exactly one of files, directory, tar, debian, ext2,"
            " continues",
        ),
    ),
    WrongConfig(
        "missing-directory",
        _segment("{name: A, at: 1M, image: {directory: /no/such}}"),
        ("2: segments[0].image.directory: found nothing at /no/such, wanted a directory",),
    ),
    WrongConfig(
        "missing-tar",
        _segment("{name: A, at: 1M, image: {tar: /etc}}"),
        ("2: segments[0].image.tar: found something else at /etc, wanted a tar file",),
    ),
    WrongConfig(
        "missing-image",
        _segment("{name: A, at: 1M, image: {ext2: /no/such.img}}"),
        ("2: segments[0].image.ext2: found nothing at /no/such.img, wanted an image file",),
    ),
    WrongConfig(
        "limit-without-patterns",
        _segment("{name: A, at: 1M, image: {directory: /etc, up_to: 1M}}"),
        ("2: segments[0].image.up_to: found up_to: beside directory:, wanted it only beside files:",),
    ),
    WrongConfig(
        "offset-without-an-image",
        _segment("{name: A, at: 1M, image: {directory: /etc, offset: 1M}}"),
        ("2: segments[0].image.offset: found offset: beside directory:, wanted it only beside ext2:",),
    ),
    WrongConfig(
        "same-segment-twice",
        SEGMENT + "  - {name: LIB, at: 1G, image: {files: [/x]}}\n",
        ("5: segments[1].name: found 'LIB' again, wanted a name of its own (segments[0] has it)",),
    ),
    WrongConfig(
        "unknown-engine",
        _guest("{name: A, engine: prozess}"),
        ("6: guests[0].engine: found 'prozess', wanted one of process, s390x, linux (did you mean process?)",),
    ),
    WrongConfig(
        "bad-size",
        _guest("{name: A, storage: 64X}"),
        (f"6: guests[0].storage: found '64X', wanted {_SIZES}",),
    ),
    WrongConfig(
        "decimal-size",
        _guest("{name: A, storage: 64MB}"),
        (
            f"6: guests[0].storage: found '64MB', wanted {_SIZES} (KB and MB mean powers of 1000 to some: write KiB,"
            " MiB)",
        ),
    ),
    WrongConfig(
        "storage-over-segment",
        _guest("{name: A, storage: 1G}"),
        (
            "6: guests[0].storage: found storage up to 0x40000000 (1024M), wanted at most 512M, where segment LIB"
            " begins (move the segment up or give less storage)",
        ),
    ),
    WrongConfig(
        "segments-in-one-megabyte",
        SEGMENT + '  - {name: B, define: ["20001-20002 SR"], image: {files: [/x]}}\nguests:\n  - {name: A}\n',
        (
            "5: segments[1].define: found a start in a megabyte that LIB takes too, wanted segments apart by whole"
            " megabytes, since guest A loads both",
        ),
    ),
    WrongConfig(
        "unknown-segment",
        _guest("{name: A, dcssblk: [LIB, LIP]}"),
        ("6: guests[0].dcssblk[1]: found 'LIP', wanted a segment of this file, such as LIB (did you mean LIB?)",),
    ),
    WrongConfig(
        "segment-in-two-devices",
        _guest('{name: A, dcssblk: [LIB, "LIB(local)"]}'),
        ("6: guests[0].dcssblk[1]: found 'LIB' again, wanted each segment in one device only",),
    ),
    WrongConfig(
        "unknown-device",
        _guest("{name: A, mounts: [{device: dcssblk1, at: /}]}"),
        ("6: guests[0].mounts[0].device: found 'dcssblk1', wanted one of dcssblk0 (did you mean dcssblk0?)",),
    ),
    WrongConfig(
        "disks",
        _guest(
            "{name: A, disks: [{name: vdb, file: /etc/hostname}, {name: vdb, file: /nosuch/file},"
            " {name: dcssblk3, file: /etc/passwd}, {name: VDC, file: /etc/passwd}, {name: vdd, file: /dev/null},"
            " {name: vde, file: /etc}, {name: vdf, file: /proc/version}, {name: vdg, writeable: true}]}"
        ),
        (
            "6: guests[0].disks[2].name: found 'dcssblk3', wanted a name that no driver gives: not null, dcssblkN, ramN"
            " or mtdblockN (such as vdb)",
            "6: guests[0].disks[3].name: found 'VDC', wanted 1 to 31 characters of a-z, 0-9, - and _, the first a"
            " letter (such as vdb)",
            "6: guests[0].disks[7].file: found nothing, wanted this key",
            "6: guests[0].disks[7].writeable: found an unknown key, wanted one of name, file, writable (did you mean"
            " writable?)",
            "6: guests[0].disks[1].name: found 'vdb' again, wanted each name once in a guest",
            "6: guests[0].disks[1].file: found nothing at /nosuch/file, wanted a regular file",
            "6: guests[0].disks[4].file: found something else at /dev/null, wanted a regular file",
            "6: guests[0].disks[5].file: found something else at /etc, wanted a regular file",
            "6: guests[0].disks[6].file: found an empty file at /proc/version, wanted a file with the size of the disk"
            " (truncate -s 64M /proc/version makes it a disk of zeros)",
        ),
    ),
    WrongConfig(
        "more-disks-than-one-guest-has",
        _guest("{name: A, disks: [" + ", ".join(f"{{name: d{n}, file: /etc/passwd}}" for n in range(27)) + "]}"),
        ("6: guests[0].disks: found a list, wanted at most 26 entries",),
    ),
    WrongConfig(
        "mount-of-no-disk",
        _guest("{name: A, disks: [{name: vdb, file: /etc/passwd}], mounts: [{device: vdc, at: /}]}"),
        ("6: guests[0].mounts[0].device: found 'vdc', wanted one of dcssblk0, vdb (did you mean vdb?)",),
    ),
    WrongConfig(
        "mount-without-any-device",
        _guest("{name: A, dcssblk: [], mounts: [{device: dcssblk0, at: /}]}"),
        ("6: guests[0].mounts[0].device: found 'dcssblk0', wanted no mount, since dcssblk: and disks: are empty",),
    ),
    WrongConfig(
        "mount-without-a-device",
        _guest("{name: A, mounts: [{at: /}, {type: ext2, at: /a}]}"),
        (
            "6: guests[0].mounts[0].device: found nothing, wanted this key",
            "6: guests[0].mounts[1].device: found nothing, wanted this key",
        ),
    ),
    WrongConfig(
        "tmpfs-with-what-only-a-disk-has",
        _guest("{name: A, mounts: [{type: tmpfs, device: vda, at: /a, mode: xip, options: [size=x, xip, mode=8]}]}"),
        (
            "6: guests[0].mounts[0].device: found device: beside type: tmpfs, wanted it only beside type: ext2",
            "6: guests[0].mounts[0].mode: found mode: beside type: tmpfs, wanted it only beside type: ext2",
            "6: guests[0].mounts[0].options[0]: found 'size=x', wanted a mount option of tmpfs, such as size=16M,"
            " mode=755 or noexec",
            "6: guests[0].mounts[0].options[1]: found 'xip', wanted a mount option of tmpfs, such as size=16M,"
            " mode=755 or noexec",
            "6: guests[0].mounts[0].options[2]: found 'mode=8', wanted a mount option of tmpfs, such as size=16M,"
            " mode=755 or noexec",
        ),
    ),
    WrongConfig(
        "unknown-type-of-mount",
        _guest("{name: A, mounts: [{type: tmpf, at: /a}]}"),
        ("6: guests[0].mounts[0].type: found 'tmpf', wanted one of ext2, tmpfs (did you mean tmpfs?)",),
    ),
    WrongConfig(
        "relative-mount-point",
        _guest("{name: A, mounts: [{device: dcssblk0, at: usr}]}"),
        ("6: guests[0].mounts[0].at: found 'usr', wanted a path from the guest's root, such as /usr/lib",),
    ),
    WrongConfig(
        "options-as-text",
        _guest("{name: A, mounts: [{device: dcssblk0, at: /, options: ['ro,xip']}]}"),
        (
            "6: guests[0].mounts[0].options[0]: found 'ro,xip', wanted one mount option (write several as a list: [ro,"
            " xip])",
        ),
    ),
    WrongConfig(
        "mistyped-option",
        _guest("{name: A, mounts: [{device: dcssblk0, at: /, options: [ro, noatime, xpi, errors=stop]}]}"),
        (
            "6: guests[0].mounts[0].options[2]: found 'xpi', wanted a mount option of ext2, such as ro, xip or noatime"
            " (did you mean xip?)",
            "6: guests[0].mounts[0].options[3]: found 'errors=stop', wanted a mount option of ext2, such as ro, xip or"
            " noatime",
        ),
    ),
    WrongConfig(
        "same-guest-twice",
        _guest("{name: A, count: 2}\n  - {name: A02}"),
        ("7: guests[1].name: found 'A02' again, wanted a name of its own (guests[0] has it)",),
    ),
    WrongConfig(
        "name-too-long-with-number",
        _guest("{name: LINUX, count: 1000000}"),
        (
            "5: guests: found 1000000 guests in all, wanted at most 99999",
            "6: guests[0].name: found LINUX1000000, 12 characters with its number, wanted at most 8",
        ),
    ),
    WrongConfig("count-0", _guest("{name: A, count: 0}"), ("6: guests[0].count: found 0, wanted 1 or more",)),
    WrongConfig(
        "count-as-text",
        _guest("{name: A, count: two}"),
        ("6: guests[0].count: found 'two', wanted a whole number",),
    ),
    WrongConfig(
        "bad-expectation",
        _guest("{name: A, expect: copy}"),
        ("6: guests[0].expect: found 'copy', wanted one of shared, copies, nothing (did you mean copies?)",),
    ),
    WrongConfig(
        "two-verbs",
        _guest("{name: A, run: [{map: /a, read: /b}]}"),
        ("6: guests[0].run[0]: found map and read, wanted exactly one of map, read, load, exec",),
    ),
    WrongConfig(
        "background-in-process",
        _guest("{name: A, run: [{exec: [cat, /x], background: true}]}"),
        (
            "6: guests[0].run[0].background: found background: in a guest of engine process, wanted engine: s390x"
            " or linux",
        ),
    ),
    WrongConfig(
        "options-of-programs-in-process",
        _guest("{name: A, run: [{exec: [cat, /x], environment: {A: b}, strace: true}]}"),
        (
            "6: guests[0].run[0].environment: found environment: in a guest of engine process, wanted engine: s390x or"
            " linux",
            "6: guests[0].run[0].strace: found strace: in a guest of engine process, wanted engine: s390x",
        ),
    ),
    WrongConfig(
        "environment-of-wrong-names",
        _guest("{name: A, engine: s390x, run: [{exec: [cat, /x], environment: {A=: b}}]}"),
        (
            "6: guests[0].run[0].environment: found a mapping, wanted names of variables, without = in them, and texts"
            " without NUL",
        ),
    ),
    WrongConfig(
        "time-limit-of-nothing",
        _guest("{name: A, engine: s390x, time_limit: 0}"),
        ("6: guests[0].time_limit: found 0, wanted a number of seconds above 0",),
    ),
    WrongConfig(
        "time-limit-in-process",
        _guest("{name: A, time_limit: 5}"),
        (
            "6: guests[0].time_limit: found an unknown key, wanted one of name, count, numbers, engine, storage,"
            " namesave, privilege, dcssblk, mounts, disks, expect, run, after, restart, boot",
        ),
    ),
    WrongConfig(
        "empty-line",
        _guest("{name: A, run: [{exec: ''}]}"),
        ("6: guests[0].run[0].exec: found '', wanted text that is not empty and has no NUL in it",),
    ),
    WrongConfig(
        "number-as-word",
        _guest("{name: A, run: [{exec: [head, -n, 1, /x]}]}"),
        ("6: guests[0].run[0].exec[2]: found 1, wanted text (quote it)",),
    ),
    WrongConfig(
        "command-as-mapping",
        _guest("{name: A, run: [{exec: {cat: /x}}]}"),
        ("6: guests[0].run[0].exec: found a mapping, wanted a list",),
    ),
    WrongConfig(
        "background-map",
        _guest("{name: A, run: [{map: /a, background: true}]}"),
        ("6: guests[0].run[0].background: found background: beside map:, wanted it only beside exec:",),
    ),
    WrongConfig(
        "bad-system-name",
        "system: My_System\n" + SEGMENT,
        ("1: system: found 'My_System', wanted 1 to 31 characters of a-z 0-9 and -, the first no -",),
    ),
    WrongConfig(
        "key-twice",
        _guest("name: A\n    count: 2\n    count: 3"),
        ("8: guests[0].count: found this key again, wanted it once (the first is in line 7)",),
    ),
    WrongConfig(
        "empty-file",
        "",
        ("1: document: found an empty file, wanted a mapping with system:, segments: and guests:",),
    ),
    WrongConfig("only-text", "just some words\n", ("1: document: found 'just some words', wanted a mapping",)),
    WrongConfig(
        "not-yaml",
        "segments: [\n  - }\n",
        ("2: document: found '-', wanted the node content",),
    ),
    WrongConfig(
        "tabs",
        "segments:\n\t- name: A\n",
        (
            "2: document: found character '\\t' that cannot start any token, wanted YAML (indent with blanks, not with"
            " tabs)",
        ),
    ),
    WrongConfig(
        "binary",
        b"segments: \xff\xfe\x00\n",
        ("1: document: found invalid start byte, wanted text in UTF-8",),
    ),
    WrongConfig(
        "custom-tag",
        "segments: !!python/object:os.system {}\n",
        ("1: document: found the tag tag:yaml.org,2002:python/object:os.system, wanted YAML",),
    ),
    WrongConfig(
        "two-documents",
        "system: a\n---\nsystem: b\n",
        ("2: document: found another document, wanted a single document in the stream",),
    ),
    WrongConfig(
        "bomb",
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        ("5: document: found aliases that expand to more than 100000 values, wanted YAML",),
    ),
    WrongConfig(
        "endless-alias",
        "segments: &a\n  - *a\n",
        ("1: document: found an alias to a node around itself, wanted YAML",),
    ),
    WrongConfig(
        "everything-at-once",
        """\
system: demo
segments:
  - name: LIB
    define: ["20000-23FFF XX"]
    image: {files: [/x]}
guests:
  - name: LINUX
    engine: proces
    mounts:
      - {device: dcssblk1, at: /, options: ro}
    run:
      - {map: lib}
      - {raed: /lib}
  - {name: linux, expect: all}
""",
        (
            "4: segments[0].define[0]: found '20000-23FFF XX', wanted one of SW EW SR ER SN EN SC",
            "8: guests[0].engine: found 'proces', wanted one of process, s390x, linux (did you mean process?)",
            "10: guests[0].mounts[0].options: found 'ro', wanted a list (write it in brackets)",
            "10: guests[0].mounts[0].device: found 'dcssblk1', wanted one of dcssblk0 (did you mean dcssblk0?)",
            "12: guests[0].run[0].map: found 'lib', wanted a path from the guest's root, such as /usr/lib",
            "13: guests[0].run[1].raed: found an unknown key, wanted one of map, read, load, exec, background,"
            " environment, strace (did you mean read?)",
            f"14: guests[1].name: found 'linux', wanted {_NAME} (in upper case)",
            "14: guests[1].expect: found 'all', wanted one of shared, copies, nothing",
        ),
    ),
)
