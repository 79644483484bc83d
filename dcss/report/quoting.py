r"""Quote names and text for a terminal, which obeys control characters: ESC, newlines, bidirectional overrides.

Output that goes to a file or pipe is not quoted: names are bytes there. Source for the form: GNU ls on a terminal
(quoting style shell-escape of gnulib's quotearg): a shell reads 'a'$'\n''b' as the name that it stands for.
"""

import os
import re
from itertools import groupby
from typing import Final

_SHELL_SPECIAL: Final = re.compile(r"[ !\"$&()*;<=>?\[\\^`|']|^[#~]|^[{}]$")
_DOUBLE_QUOTABLE: Final = re.compile(r"[#~]?[\w%+,./:@\] '-]*")
_SHORT: Final = {"\a": r"\a", "\b": r"\b", "\t": r"\t", "\n": r"\n", "\v": r"\v", "\f": r"\f", "\r": r"\r"}


def quoted_name(name: str) -> str:
    """Return `name`, decoded by os.fsdecode, as GNU ls writes it on a terminal; what a shell takes as it is, unchanged.

    Unlike ls it quotes bidirectional overrides and other invisible characters too.
    """
    if name.isprintable():
        if name and not _SHELL_SPECIAL.search(name):
            return name
        if "'" in name and _DOUBLE_QUOTABLE.fullmatch(name):
            return f'"{name}"'
    quoted = "" if name and name[0].isprintable() else "''"
    for printable, chars in groupby(name, str.isprintable):
        if not printable:
            quoted += "$'" + "".join(map(_escape, chars)) + "'"
        else:
            run = "'" + "".join(chars).replace("'", r"'\''") + "'"
            quoted += run.removeprefix("''") if quoted else run
    return quoted


def escaped(text: str, keep: str = "") -> str:
    r"""Return `text` with control characters, invisible ones and undecodable bytes as \n or \033; `keep` stays."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escape(char) for char in text)


def _escape(char: str) -> str:
    return _SHORT.get(char) or "".join(f"\\{byte:03o}" for byte in _bytes_of(char))


def _bytes_of(char: str) -> bytes:
    """Return the bytes that a character came from; half of one, which JSON may have, came from none."""
    try:
        return os.fsencode(char)
    except UnicodeEncodeError:
        return char.encode(errors="surrogatepass")
