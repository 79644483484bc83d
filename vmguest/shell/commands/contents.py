"""Commands that show what is in files: cat, head, wc, hexdump.

They look at bytes where they lie. A copy in this process's memory would be one more copy of the segment, and the proof
would find it, long after the command.
"""

import re

from vmguest.fs.file import FileOperations
from vmguest.shell.context import Builtin, Context, UsageError, number, operands, options, shown

_LINE_BYTES = 16
_NEWLINE = re.compile(rb"\n")
_WORD = re.compile(rb"\S+")


def cat(context: Context) -> None:
    """Send files as they lie: from the segment, the page cache or a frame, without a copy in between."""
    _, files = options(context, "u")
    for file in files:
        with context.reporting(shown(file)):
            context.send(file)


def head(context: Context) -> None:
    """Send the first lines or bytes."""
    first = context.arguments[0] if context.arguments else b""
    if first[:1] == b"-" and first[1:].isdigit():
        context.arguments = [b"-n", first[1:], *context.arguments[1:]]
    given, files = options(context, "", "nc")
    lines = number(given.get("n", b"10"), "lines")
    count = number(given["c"], "bytes") if "c" in given else None
    for index, file in enumerate(files):
        with context.reporting(shown(file)):
            if len(files) > 1:
                context.dentry(file)
                context.out.line(f"{chr(10) if index else ''}==> {shown(file)} <==")
            if count is not None:
                context.send(file, count)
            else:
                with context.open(file) as opened:
                    _send_lines(context, opened.file, lines)


def _send_lines(context: Context, file: FileOperations, lines: int) -> None:
    left = lines

    def take(piece: memoryview) -> int:
        nonlocal left
        end = 0
        for newline in _NEWLINE.finditer(piece) if left else ():
            left -= 1
            if left == 0:
                end = newline.end()
                break
        else:
            end = len(piece) if left else 0
        context.out.take(piece[:end])
        return end

    file.sendfile(0, file.size_bytes, take)


def wc(context: Context) -> None:
    """Count lines, words and bytes."""
    given, files = options(context, "lwc")
    wanted = [letter for letter in "lwc" if letter in given] or list("lwc")
    rows: list[tuple[dict[str, int], str]] = []
    for file in files:
        with context.reporting(shown(file)), context.open(file) as opened:
            rows.append((_counts(opened.file, wanted), shown(file)))
    total = {letter: sum(counts[letter] for counts, _ in rows) for letter in "lwc"}
    if len(files) > 1:
        rows.append((total, "total"))
    # As wide as the sum of all sizes, whatever is shown; one number of one file stands alone.
    width = 0 if len(files) == len(wanted) == 1 else len(str(total["c"]))
    for counts, name in rows:
        context.out.line(" ".join([*(f"{counts[letter]:{width}}" for letter in wanted), name]))


def _counts(file: FileOperations, wanted: list[str]) -> dict[str, int]:
    lines = words = 0
    inside = False

    def take(piece: memoryview) -> int:
        nonlocal lines, words, inside
        lines += sum(1 for _ in _NEWLINE.finditer(piece))
        words += sum(1 for _ in _WORD.finditer(piece)) - (inside and _WORD.match(piece) is not None)
        inside = not bytes(piece[-1:]).isspace()
        return len(piece)

    if wanted != ["c"]:
        file.sendfile(0, file.size_bytes, take)
    return {"l": lines, "w": words, "c": file.size_bytes}


def hexdump(context: Context) -> None:
    """Show bytes in hex and as characters; lines that repeat the one before are one *."""
    given, files = options(context, "C", "ns")
    if "C" not in given:
        raise UsageError("only the form of -C is supported")
    start = number(given.get("s", b"0"), "bytes")
    for file in operands(files, at_most=1):
        with context.reporting(shown(file)), context.open(file) as opened:
            size_bytes = opened.file.size_bytes
            end = min(size_bytes, start + number(given["n"], "bytes")) if "n" in given else size_bytes
            _dump(context, opened.file, start, end)


def _dump(context: Context, file: FileOperations, position: int, end: int) -> None:
    before, starred = b"", False
    buffer = memoryview(bytearray(_LINE_BYTES))
    while count := file.read(position, buffer[: max(0, min(_LINE_BYTES, end - position))]):
        line = bytes(buffer[:count])
        if line == before:
            if not starred:
                context.out.line("*")
            starred = True
        else:
            before, starred = line, False
            low, high = line[:8].hex(" "), line[8:].hex(" ")
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
            context.out.line(f"{position:08x}  {low:23}  {high:23}  |{text}|")
        position += count
    if position:
        context.out.line(f"{position:08x}")


COMMANDS = {
    b"cat": Builtin(cat, "cat [FILE]..."),
    b"head": Builtin(head, "head [-n LINES] [-c BYTES] [FILE]..."),
    b"hexdump": Builtin(hexdump, "hexdump -C [-n BYTES] [-s OFFSET] FILE"),
    b"wc": Builtin(wc, "wc [-lwc] [FILE]..."),
}
