"""`dcss logs`: where the last lines begin, and what a terminal gets."""

import io
import json
import sys
from pathlib import Path

import pytest

from dcss.cli import logs


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 1 << 16])
@pytest.mark.parametrize("text", ["", "\n", "one", "one\n", "one\ntwo", "one\ntwo\n", "\n\n\n", "a\n\nb\n"])
@pytest.mark.parametrize("lines", [0, 1, 2, 3, 9])
def test_the_last_lines(text: str, lines: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_READ_BYTES", block_bytes)
    log = io.BytesIO(text.encode())
    logs._seek_last(log, lines)
    every = text.splitlines(keepends=True)
    assert log.read().decode() == "".join(every[len(every) - min(lines, len(every)) :])


HOSTILE = "[1] \x1b[2J\x1b]0;t\x07\u202e caf\u00e9\tb\r".encode() + b"\n" + b"\xff\n"


def test_a_pipe_gets_the_bytes_and_a_terminal_what_it_can_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "log"
    path.write_bytes(HOSTILE)
    monkeypatch.setattr(logs, "_READ_BYTES", 1)  # characters of several bytes come in pieces
    with path.open("rb") as log, open(1, "w", closefd=False, encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        logs._copy(log, None, logs._Text())
        assert capfdbinary.readouterr().out == HOSTILE
        log.seek(0)
        monkeypatch.setattr(stdout, "isatty", lambda: True)
        logs._copy(log, None, logs._Text())
        shown = rb"[1] \033[2J\033]0;t\a\342\200\256 " + "caf\u00e9\tb\\r\n".encode() + rb"\377" + b"\n"
        assert capfdbinary.readouterr().out == shown


@pytest.mark.parametrize("block_bytes", [1, 3, 1 << 16])
@pytest.mark.parametrize("text", [b"", b"one\n", b"one\ntwo", b"\n\n\xff \xc3\xa9 \x1b\n"])
def test_each_line_is_a_document(
    text: bytes, block_bytes: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "_READ_BYTES", block_bytes)
    logs._copy(io.BytesIO(text), None, logs._JsonLines("demo", "G01"))
    documents = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    wanted = [line.decode(errors="surrogateescape") for line in text.splitlines()]
    assert documents == [{"system": "demo", "guest": "G01", "line": line} for line in wanted]
