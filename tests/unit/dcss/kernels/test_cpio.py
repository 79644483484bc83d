"""Archives of an initramfs, as cpio(1) reads them."""

import stat
import subprocess
from pathlib import Path

from needs_support import needs

from dcss.kernels.cpio import Entry, archive, directory, regular


@needs("cpio")
def test_cpio_unpacks_what_went_in(tmp_path: Path) -> None:
    entries = [directory("bin"), regular("bin/one", b"odd", executable=True), regular("two", bytes(4097))]
    subprocess.run(["cpio", "-id", "--quiet"], input=archive(entries), cwd=tmp_path, check=True)
    found = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*")}
    assert sorted(found) == ["bin", "bin/one", "two"]
    assert found["bin/one"].read_bytes() == b"odd"
    assert found["bin/one"].stat().st_mode & 0o777 == 0o755
    assert found["two"].read_bytes() == bytes(4097)


@needs("cpio")
def test_devices_have_their_numbers() -> None:
    packed = archive([directory("dev"), Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))])
    listed = subprocess.run(["cpio", "-tv", "--quiet"], input=packed, check=True, capture_output=True).stdout.decode()
    assert listed.splitlines()[1].split()[:6] == ["crw-------", "1", "root", "root", "5,", "1"]


def test_archives_that_follow_one_another_are_aligned() -> None:
    one = archive([regular("a", b"x")])
    assert len(one) % 4 == 0
    assert one == archive([regular("a", b"x")]), "the same bytes each time"
