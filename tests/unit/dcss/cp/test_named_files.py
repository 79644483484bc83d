"""Whatever a client or the spool names is opened without waiting, must be a regular file, and is copied in bounds."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cp_support import BlockingCp, control_program, define, filler, private_directories, unique_system
from file_kind_support import WRONG_KINDS, Maker

from dcss.cp.requests import Export, Import, OperatorRequest, Save
from dcss.cp.segments import content
from dcss.errors import DcssError

LIB = define("LIB", "20000-2000F SR")
pytestmark = pytest.mark.timeout(60)

# In the spool a link is wrong, too, whatever it leads to.
SPOOL_KINDS: Mapping[str, Maker] = {**WRONG_KINDS, "a symbolic link": lambda path: path.symlink_to("/etc/passwd")}


@pytest.fixture
def cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        yield running


def spool_of(system: str) -> Path:
    return Path(os.environ["XDG_STATE_HOME"], "dcss", system)


@pytest.mark.parametrize("kind", SPOOL_KINDS)
@pytest.mark.parametrize("name", ["0001.content", "0001.manifest", "0007.content", "0007.manifest", "0002.content.new"])
def test_a_spool_stays_usable_whatever_is_in_it(kind: str, name: str) -> None:
    with private_directories():
        system = unique_system("named")
        other = define("OTHER", "30000-3000F SR")
        with BlockingCp(system) as cp:
            cp.saved.store(LIB, filler(b"lib"))
            cp.saved.store(other, filler(b"other"))
        (spool_of(system) / name).unlink(missing_ok=True)
        SPOOL_KINDS[kind](spool_of(system) / name)
        damaged = spool_of(system) / "damaged"
        with BlockingCp(system) as cp:
            assert bytes(cp.open(other.name).object.buffer[:5]) == b"other"
            assert len(cp.findings) == 1
            assert "set aside as" in cp.findings[0]
            assert str(damaged / f"{name}.1") in cp.findings[0]
            assert os.path.lexists(damaged / f"{name}.1")
            assert ("LIB" in cp.available) == (not name.startswith("0001"))
            for _ in range(8):
                cp.saved.store(LIB, filler(b"again"))
            assert bytes(cp.open(LIB.name).object.buffer[:5]) == b"again"
        with BlockingCp(system) as cp:
            assert cp.findings == []


@pytest.mark.parametrize("kind", SPOOL_KINDS)
def test_a_content_that_becomes_something_else_is_set_aside(cp: BlockingCp, kind: str) -> None:
    cp.saved.store(LIB, filler(b"lib"))
    path = spool_of(cp.system) / "0001.content"
    path.unlink()
    SPOOL_KINDS[kind](path)
    with pytest.raises(DcssError, match="set aside"):
        cp.open(LIB.name)
    assert os.path.lexists(spool_of(cp.system) / "damaged/0001.content.1")


@pytest.mark.parametrize("kind", WRONG_KINDS)
def test_what_a_client_names_must_be_a_regular_file(cp: BlockingCp, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "named"
    SPOOL_KINDS[kind](path)
    cp.saved.define(LIB)
    for request in (Import(path, LIB), Import(path, LIB, "00" * 32), Save(LIB.name, path)):
        with pytest.raises(DcssError, match=r"named: .*found a .*, wanted a regular file"):
            cp.perform(request)
    assert [entry.name for entry in spool_of(cp.system).iterdir()] == ["0001.manifest"]


@pytest.mark.parametrize("kind", WRONG_KINDS)
@pytest.mark.parametrize("name", ["image", "image.manifest"])
def test_an_export_replaces_nothing_but_a_file(cp: BlockingCp, tmp_path: Path, kind: str, name: str) -> None:
    SPOOL_KINDS[kind](tmp_path / name)
    mode = (tmp_path / name).lstat().st_mode
    cp.saved.store(LIB, filler(b"lib"))
    with pytest.raises(DcssError, match=r"could not be exported to .*found a .*, wanted a regular file"):
        cp.perform(Export((LIB.name,), tmp_path / "image"))
    assert [(entry.name, entry.lstat().st_mode) for entry in tmp_path.iterdir()] == [(name, mode)]


@pytest.mark.parametrize("path", ["/proc/self/maps", "/proc/kmsg", "/dev/zero", "/dev/null", "/proc/self", "/dev/tty"])
def test_files_of_the_kernel_are_not_imported(cp: BlockingCp, path: str) -> None:
    if not Path(path).exists():
        pytest.skip(f"{path} does not exist")
    with pytest.raises(DcssError, match=path):
        cp.perform(Import(Path(path), LIB))
    assert not cp.files


def test_an_import_stops_at_the_definition_s_size(cp: BlockingCp, tmp_path: Path) -> None:
    """Also where the file grows once its size is known."""
    path = tmp_path / "image"
    path.write_bytes(bytes(LIB.size_bytes))

    def grow(_: int) -> None:
        with path.open("ab") as file:
            file.truncate(1 << 40)

    cp.perform(Import(path, LIB, advance=grow))
    with pytest.raises(DcssError, match=f"needs {1 << 40} bytes for its image, has 65536"):
        cp.perform(Import(path, LIB))
    with pytest.raises(DcssError, match=f"found {1 << 40} bytes, wanted at least 1 and at most 65536"):
        content.file_fill(path, LIB.size_bytes)(1)


def test_a_file_that_gets_shorter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(65536))
    monkeypatch.setattr(content, "_COPY_BYTES", 4096)
    with (tmp_path / "copy").open("wb") as copy, pytest.raises(DcssError, match="found 4096 bytes, wanted 65536"):
        content.file_fill(path, 65536, lambda _: os.truncate(path, 4096))(copy.fileno())


@pytest.mark.parametrize("operation", ["import", "save", "export"])
def test_a_copy_ends_with_its_caller_and_leaves_nothing(
    cp: BlockingCp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    image, target = tmp_path / "image", tmp_path / "out"
    target.mkdir()
    image.write_bytes(b"x" * LIB.size_bytes)  # zeros would not be copied
    cp.saved.store(LIB, filler(b"x" * LIB.size_bytes))
    cp.saved.define(define("NEW", "30000-3000F SR"))
    before = sorted(path.name for path in spool_of(cp.system).iterdir())
    monkeypatch.setattr(content, "_COPY_BYTES", 1)  # 65536 parts, and each takes a while
    real_sendfile, copied = os.sendfile, 0
    cancel: list[Callable[[], object]] = []

    def sendfile(*arguments: Any) -> int:
        nonlocal copied
        copied += 1
        cancel[0]()
        return real_sendfile(*arguments)

    monkeypatch.setattr(os, "sendfile", sendfile)
    requests: dict[str, OperatorRequest] = {
        "import": Import(image, LIB),
        "save": Save(define("NEW", "1-1 SR").name, image),
        "export": Export((LIB.name,), target / "image"),
    }

    async def cancelled() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(cp.cp.perform(requests[operation]))
        cancel.append(lambda: loop.call_soon_threadsafe(task.cancel))
        with pytest.raises(asyncio.CancelledError):
            await task

    cp.run(cancelled())
    assert 0 < copied < 60000
    assert sorted(path.name for path in spool_of(cp.system).iterdir()) == before
    assert not list(target.iterdir())
