"""Trees and images of this machine's own libraries, which subjects share or copy."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.framework.session import Session

ADDRESS = "0x20000000"


@dataclass(frozen=True)
class LibraryImage:
    """An ext2 image of libraries, made by `dcss image build`, and the tree that it was made from."""

    tree: Path
    path: Path
    files: int
    mapped_bytes: int


def library_image(session: Session, directory: Path, limit_bytes: int) -> LibraryImage:
    """Copy libraries of up to `limit_bytes` into `directory`, and build their image."""
    target = directory / "tree" / "usr" / "lib"
    target.mkdir(parents=True)
    files = total_bytes = mapped_bytes = 0
    for path in sorted(Path("/usr/lib").rglob("*.so*")):
        if path.is_symlink() or not path.is_file():
            continue
        size_bytes = path.stat().st_size
        if not 0 < size_bytes <= limit_bytes - total_bytes or (target / path.name).exists():
            continue
        shutil.copyfile(path, target / path.name)
        files, total_bytes = files + 1, total_bytes + size_bytes
        mapped_bytes += -(-size_bytes // 4096) * 4096
    image = directory / "image"
    session.dcss("image", "build", directory / "tree", "-o", image, "--at", ADDRESS)
    return LibraryImage(directory / "tree", image, files, mapped_bytes)


def config_of(
    session: Session, system: str, image: Path, guests: int, *, steps: str = "[{map: /usr/lib/*}]", huge: bool = True
) -> Path:
    """Write the YAML of a system whose guests share an image in place, and return its path.

    With `huge` the segment lies in huge pages where the machine has them, as it does by default.
    """
    path = session.scratch / f"{system}{'' if huge else '-small'}.yaml"
    pages = "auto" if huge else "never"
    path.write_text(
        f"system: {system}\n"
        f"segments: [{{name: LIB, at: {ADDRESS}, huge_pages: {pages}, image: {{ext2: {image}}}}}]\n"
        f"guests: [{{name: L, count: {guests}, run: {steps},"
        " mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]}]\n"
    )
    return path


def copy_tree(target: Path, limit_bytes: int) -> tuple[int, int]:
    """Copy from /usr/lib, in order of path, what fits; return files and bytes."""
    files = size_bytes = 0
    for directory, names, entries in os.walk("/usr/lib"):
        names.sort()
        for name in sorted(entries):
            path = Path(directory, name)
            length = path.lstat().st_size if path.is_file() or path.is_symlink() else limit_bytes + 1
            if length > limit_bytes // 4 or size_bytes + length > limit_bytes:
                continue
            copy = target / path.relative_to("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy, follow_symlinks=False)
            files, size_bytes = files + 1, size_bytes + length
    return files, size_bytes
