"""What a kernel's last words say of its end."""

import os
from pathlib import Path

from dcss.engines.linux.panic import last_words_since, panic_since

EARLIER = b"[    1.0] Kernel panic - not syncing: of the run before\r\n"


def _panic(tmp_path: Path, content: bytes, offset_bytes: int = 0) -> str | None:
    path = tmp_path / "log"
    path.write_bytes(content)
    log = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        return panic_since(log, offset_bytes)
    finally:
        os.close(log)


def test_a_panic_is_named_by_its_first_line(tmp_path: Path) -> None:
    words = b"[    9.1] Kernel panic - not syncing: sysrq triggered crash\r\n[    9.2] CPU: 0\r\n"
    assert _panic(tmp_path, b"booting\n" + words) == "sysrq triggered crash"
    assert _panic(tmp_path, words + words.replace(b"sysrq", b"later")) == "sysrq triggered crash"


def test_a_panic_by_an_oops_says_what_that_was(tmp_path: Path) -> None:
    oops = b"[    8.9] Unable to handle kernel pointer dereference in virtual kernel address space\r\n"
    oops += b"[    8.9] Oops: 0010 ilc:3\r\n"
    fatal = b"[    9.1] Kernel panic - not syncing: Fatal exception: panic_on_oops\r\n"
    wanted = (
        "Fatal exception: panic_on_oops: Unable to handle kernel pointer dereference in virtual kernel address space"
    )
    assert _panic(tmp_path, oops + fatal) == wanted
    assert _panic(tmp_path, fatal + oops) == "Fatal exception: panic_on_oops"
    crash = b"[    9.1] Kernel panic - not syncing: sysrq triggered crash\r\n"
    assert _panic(tmp_path, oops + crash) == "sysrq triggered crash"


def test_a_run_before_and_a_kernel_that_is_well_tell_none(tmp_path: Path) -> None:
    assert _panic(tmp_path, EARLIER + b"reboot: Power down\n", len(EARLIER)) is None
    assert _panic(tmp_path, b"") is None


def test_a_log_that_cannot_be_read_again_tells_none() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert panic_since(writer, 0) is None
    assert last_words_since(writer, 0) == ""
    os.close(writer)


def test_the_last_words_are_the_machine_s_and_not_cp_s(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(EARLIER + b"Linux\r\nXZ-compressed data is corrupt\n\n\0 -- System halted\ncp: its end\n\n")
    with path.open("rb") as log:
        assert last_words_since(log.fileno(), len(EARLIER)) == "XZ-compressed data is corrupt / -- System halted"
        assert last_words_since(log.fileno(), path.stat().st_size) == ""
