"""Packages of Debian and archives of them, made by the test: nothing is downloaded."""

import gzip
import hashlib
import io
import lzma
import os
import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from cli_support import Dcss

from dcss.host.paths import cache_directory

Content = bytes | str | int  # of a file; where a link leads; the mode of a directory
Compression = Literal["gz", "xz", ""]
MTIME_S = 1_700_000_000


def lend_packages(dcss: Dcss) -> None:
    """Give a user what this one has downloaded, so that it is downloaded once."""
    home = dcss.home / "cache"
    shutil.copytree(cache_directory(), home / "dcss", symlinks=True)
    if dcss.uid is not None:
        for each in (home, *home.rglob("*")):
            os.chown(each, dcss.uid, dcss.uid, follow_symlinks=False)
    dcss.environment["XDG_CACHE_HOME"] = str(home)


@dataclass
class Deb:
    """One package: the paths in it begin with a slash."""

    name: str
    files: dict[str, Content] = field(default_factory=dict)
    depends: str = ""
    arch: str = "s390x"
    version: str = "1.0-1"
    fields: dict[str, str] = field(default_factory=dict)
    compression: Compression = "xz"

    @property
    def control(self) -> str:
        """The fields that describe it."""
        known = {"Package": self.name, "Version": self.version, "Architecture": self.arch, "Maintainer": "nobody"}
        wanted = {"Depends": self.depends} if self.depends else {}
        return "".join(f"{key}: {value}\n" for key, value in {**known, **wanted, **self.fields}.items())

    def write(self, directory: Path) -> Path:
        """Write the .deb file and return its path."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.name}_{self.version}_{self.arch}.deb"
        control = _tar({"/control": self.control.encode()})
        data = _tar(self.files)
        ending = f".{self.compression}" if self.compression else ""
        members = {
            "debian-binary": b"2.0\n",
            f"control.tar{ending}": _packed(control, self.compression),
            f"data.tar{ending}": _packed(data, self.compression),
        }
        path.write_bytes(b"!<arch>\n" + b"".join(_ar_member(*member) for member in members.items()))
        return path


def _ar_member(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
    return header.encode() + content + b"\n" * (len(content) % 2)


def _packed(content: bytes, compression: Compression) -> bytes:
    match compression:
        case "gz":
            return gzip.compress(content, mtime=0)
        case "xz":
            return lzma.compress(content)
        case _:
            return content


def _tar(files: dict[str, Content]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        parents = sorted({parent for path in files for parent in Path(path).parents if parent != Path("/")})
        entries: dict[str, Content] = {**dict.fromkeys(map(str, parents), 0o755), **files}
        for path in sorted(entries):
            info, content = tarfile.TarInfo(f".{path}"), entries[path]
            info.mtime, info.mode = MTIME_S, 0o755
            if isinstance(content, int):
                info.type, info.mode = tarfile.DIRTYPE, content
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


class DebianArchive:
    """An archive with one suite, `stable`, and the machine's apt set up for it alone."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = home / "archive"
        self.home = home
        self.list = home / "apt/sources.list"
        (home / "apt/sources.list.d").mkdir(parents=True)
        (home / "cache").mkdir(mode=0o700)
        configuration = home / "apt/apt.conf"
        configuration.write_text(
            f'Dir::Etc::sourcelist "{self.list}";\nDir::Etc::sourceparts "{home}/apt/sources.list.d";\n'
        )
        monkeypatch.setenv("APT_CONFIG", str(configuration))
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        self.source("trusted=yes")

    def source(self, options: str, method: str = "file") -> None:
        """Have the machine's apt know the archive with these options; apt keeps copies of lists with method `copy`."""
        self.list.write_text(f"deb [{options}] {method}:{self.root} stable main\n" if options else "")

    def publish(self, *packages: Deb, arch: str = "s390x") -> None:
        """Write packages, their list, and the Release file that has its digest."""
        entries = []
        for package in packages:
            path = package.write(self.root / "pool")
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            entries.append(
                f"{package.control}Filename: pool/{path.name}\nSize: {len(content)}\nSHA256: {digest}\n"
                f"Description: made by a test\n"
            )
        listed = "\n".join(entries).encode()
        suite = self.root / "dists/stable"
        (suite / f"main/binary-{arch}").mkdir(parents=True, exist_ok=True)
        (suite / f"main/binary-{arch}/Packages").write_bytes(listed)
        digest = hashlib.sha256(listed).hexdigest()
        (suite / "Release").write_text(
            f"Origin: Test\nSuite: stable\nCodename: stable\nArchitectures: {arch}\nComponents: main\n"
            f"Date: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n {digest} {len(listed)} main/binary-{arch}/Packages\n"
        )
