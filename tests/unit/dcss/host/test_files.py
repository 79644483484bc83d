"""Files whose names others choose: nothing but a regular file is opened, and nothing waits."""

import asyncio
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from file_kind_support import WRONG_KINDS, Maker

from dcss.host.aio import in_thread
from dcss.host.cancellation import check_cancelled
from dcss.host.files import WrongKindError, check_replaceable, create_new, open_regular, read_regular, write_durably

KINDS: Mapping[str, Maker] = {**WRONG_KINDS, "a symbolic link": lambda path: path.symlink_to("target")}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_a_regular_file_is_opened(tmp_path: Path, kind: str) -> None:
    (tmp_path / "target").write_bytes(b"content")
    path = tmp_path / "named"
    KINDS[kind](path)
    descriptors = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(WrongKindError, match=f"named: found {kind}, wanted a regular file"):
        open_regular(path, follow=kind == "a character device")
    assert set(Path("/proc/self/fd").iterdir()) == descriptors


def test_a_link_is_followed_where_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"content")
    (tmp_path / "link").symlink_to("target")
    assert read_regular(tmp_path / "link", 7) == b"content"
    with pytest.raises(ValueError, match="more than 6 bytes"):
        read_regular(tmp_path / "link", 6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "named"
    KINDS[kind](path)
    mode = path.lstat().st_mode
    with pytest.raises(WrongKindError):
        check_replaceable(path)
    with pytest.raises(WrongKindError):
        write_durably(path, lambda descriptor: os.write(descriptor, b"new"), lambda _: None)
    assert path.lstat().st_mode == mode
    assert [entry.name for entry in tmp_path.iterdir()] == ["named"]


def test_a_link_in_the_place_of_a_new_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"content")
    (tmp_path / "new").symlink_to("target")
    os.close(create_new(tmp_path / "new"))
    assert (tmp_path / "target").read_bytes() == b"content"
    assert not (tmp_path / "new").is_symlink()


@pytest.mark.timeout(60)
def test_work_in_a_thread_ends_when_its_caller_is_cancelled() -> None:
    started, ended = threading.Event(), threading.Event()

    def work() -> None:
        try:
            while True:
                check_cancelled()
                started.set()
        finally:
            ended.set()

    async def call() -> None:
        task = asyncio.create_task(in_thread(work))
        while not started.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()
        await in_thread(check_cancelled)  # the thread's next work is another one

    asyncio.run(call())
