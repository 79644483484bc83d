"""Container images as umoci and skopeo make them give the tree that umoci unpacks."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from image_support import Read, build
from needs_support import needs

from dcss.config.sources import TarSource

pytestmark = needs("umoci", "skopeo", "tar")
_ROOTLESS = [] if os.geteuid() == 0 else ["--rootless"]


def run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout of three layers: files, whiteouts of a file and of a directory, and the directory anew."""
    work = tmp_path_factory.mktemp("umoci")
    layout = work / "layout"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:t")
    changes = (
        "mkdir -p etc usr/lib gone/deep; echo a > etc/a; echo b > etc/b; ln -s a etc/link; ln etc/a etc/same;"
        " head -c 70000 /etc/services > usr/lib/big; echo x > gone/deep/x; chmod 4755 etc/b",
        "rm -r gone etc/a; echo new > etc/b; mkdir new; echo y > new/y",
        "mkdir gone; echo back > gone/back; rm new/y",
    )
    for number, change in enumerate(changes):
        bundle = work / f"bundle{number}"
        run("umoci", "unpack", *_ROOTLESS, "--image", f"{layout}:t", bundle)
        subprocess.run(["sh", "-ec", change], cwd=bundle / "rootfs", check=True)
        run("umoci", "repack", "--image", f"{layout}:t", bundle)
    (work / "inserted").write_text("inserted")
    run("umoci", "insert", *_ROOTLESS, "--image", f"{layout}:t", work / "inserted", "/inserted")  # it pads nothing
    return layout


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content (or target) of all that lies below `root`, by path."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in root.rglob("*"):
        status = path.lstat()
        content = b""
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.fsencode(path.readlink())
        found[f"/{path.relative_to(root)}"] = status.st_mode, content
    return found


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive", "tar of the layout", "directory"])
def test_the_tree_is_the_one_that_umoci_unpacks(layout: Path, tmp_path: Path, form: str) -> None:
    archive = tmp_path / "image.tar"
    if form == "directory":
        archive = layout
    elif form == "tar of the layout":
        run("tar", "-C", layout, "-cf", archive, ".")
    else:
        tag = "t:1" if form == "docker-archive" else "t"
        run("skopeo", "copy", f"oci:{layout}:t", f"{form}:{archive}:{tag}")
    run("umoci", "unpack", *_ROOTLESS, "--image", f"{layout}:t", tmp_path / "bundle")
    wanted = tree(tmp_path / "bundle/rootfs")
    build(TarSource(archive, tag=None if form == "docker-archive" else "t"), tmp_path / "x.img")
    read = Read(tmp_path / "x.img")
    found = {
        os.fsdecode(path): (inode.mode, read.content.get(path, read.targets.get(path, b"")))
        for path, inode in read.inodes.items()
        if path != b"/" and not path.startswith(b"/lost+found")
    }
    assert found == wanted
