"""Whether the QEMU that is installed can run machines: its version, and what it says where it has none."""

from pathlib import Path

import pytest

from dcss.cli.main import main
from dcss.engines.linux.qemu_version import unusable_because


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", None),
        ("QEMU emulator version 10.1.0", None),
        ("QEMU emulator version 6.2.0 (Debian 1:6.2)", "is 6.2.0"),
        ("QEMU emulator version 7.1.91", "is 7.1.91"),
        ("something else", "--version says 'something else'"),
        ("", "--version says ''"),
    ],
)
def test_a_qemu_too_old_or_none_at_all_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, why: str | None
) -> None:
    program = tmp_path / "qemu-system-s390x"
    program.write_text(f"#!/bin/sh\necho '{told}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = unusable_because("qemu-system-s390x")
    assert found is None if why is None else found is not None and found == f"{program} {why}"


@pytest.mark.parametrize("installed", [True, False])
def test_a_system_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], installed: bool
) -> None:
    if installed:
        program = tmp_path / "qemu-system-s390x"
        program.write_text("#!/bin/sh\necho QEMU emulator version 6.2.0\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    config = tmp_path / "system.yaml"
    config.write_text(
        "segments: [{name: LIB, at: 0x10000000, image: {directory: .}}]\n"
        "guests: [{name: L, engine: linux, kernel: {debian: {suite: bookworm}}, dcssblk: [LIB]}]\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["run", str(config)])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert ("is 6.2.0, wanted qemu-system-s390x 7.2 or newer" if installed else "and no qemu-system-s390x") in told
