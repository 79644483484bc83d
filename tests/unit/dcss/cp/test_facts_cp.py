"""docs/facts.md, sections 1.1 to 1.4: what CP's commands do, one scenario a row; the row's name is its id there."""

import errno
import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from cp_support import BlockingCp, private_directories, unique_system

from dcss.abi.extmem import SegmentName
from dcss.cp.requests import Issuer

DEFINED = "HCPNSD440I Saved segment {} was successfully defined in fileid {:04d}."
SAVED = "HCPNSS440I Saved segment {} was successfully saved in fileid {:04d}."
NOT_ADDRESSABLE = (
    "HCPDCS9009E Pages {} of saved segment LIB are not in the storage of E, nothing was saved; load it first"
)
MAP = "FILE FILENAME FILETYPE MINSIZE BEGPAG ENDPAG TYPE CL #USERS PARMREGS VMGROUP"
ATTRIBUTES = "FILE FILENAME FILETYPE CL ATTRIBUTES"
USERS = "FILE FILENAME FILETYPE CL USERS"
LOADSHRX, LOADNSRX, PURGESEG = 0x20, 0x24, 0x08
PAGE = 4096


class Row(NamedTuple):
    """`steps` are things to do and what must come of them: see `Stage`."""

    fact: str
    steps: tuple[tuple[str, str], ...]


class Stage:
    """A CP with an operator (CP ...), a guest of class G (G ...), and two of classes E and G: E, which loads segments,
    and M, whose own storage is large enough to hold them.

    LOAD, PRIVATE and DROP guest name are DIAG X'64'; READ guest name [page] is what a page of it begins with; WRITE
    guest name text stores into it; STORAGE text is what each page of M begins with; RESTART ends CP, and starts one.
    """

    def __init__(self) -> None:
        self.system = unique_system("facts")
        self.storage = b""
        self.start()

    def start(self) -> None:
        self.cp = BlockingCp(self.system)
        self.cp.register("G", storage_bytes=0)
        self.cp.register(
            "E", storage_bytes=0, privilege="EG", namesave=frozenset({"SECRET", "MONDCSS"}), dump=self.dump
        )
        self.cp.register("M", storage_bytes=1 << 31, privilege="EG", dump=self.dump)

    def dump(self, write_fd: int, address: int, size_bytes: int) -> None:
        del address
        os.pwrite(write_fd, (self.storage * (size_bytes // PAGE))[:size_bytes], 0)

    def do(self, step: str) -> str:
        verb, _, rest = step.partition(" ")
        if verb == "RESTART":
            self.cp.close()
            self.start()
            return ""
        if verb == "STORAGE":
            self.storage = rest.encode().ljust(PAGE, b"\0")
            return ""
        if verb in {"CP", "G", "E", "M"}:
            issuer = () if verb == "CP" else (Issuer(verb, self.cp.machines[verb].privileges, self.cp.machines[verb]),)
            return "\n".join(self.cp.execute(rest, *issuer).lines)
        guest, name = rest.split()[:2]
        if verb == "READ":
            page = int((rest.split()[2:] or ["0"])[0])
            content = os.pread(self.cp.loaded(guest)[SegmentName(name)].descriptor, 64, page * PAGE)
            return content.rstrip(b"\0").decode("latin-1")
        if verb == "WRITE":
            return self.write(guest, name, rest.split()[2])
        subcode = {"LOAD": LOADSHRX, "PRIVATE": LOADNSRX, "DROP": PURGESEG}[verb]
        registers = b"".join(number.to_bytes(8, "big") for number in (0x64, 0x1000, subcode))
        reply = self.cp.handle(guest, registers + name.ljust(8).encode("cp037"))
        return f"cc {reply.condition_code}" if reply.condition_code < 2 else f"cc 2 code {reply.ry}"

    def write(self, guest: str, name: str, text: str) -> str:
        try:
            return str(os.pwrite(self.cp.loaded(guest)[SegmentName(name)].descriptor, text.encode(), 0))
        except OSError as error:
            assert error.errno == errno.EBADF  # open for reading alone
            return "refused"


@pytest.fixture
def stage() -> Iterator[Stage]:
    with private_directories():
        made = Stage()
        yield made
        made.cp.close()


def saved(name: str, words: str, spid: int = 1) -> tuple[tuple[str, str], ...]:
    return ((f"CP DEFSEG {name} {words}", DEFINED.format(name, spid)), (f"CP SAVESEG {name}", SAVED.format(name, spid)))


LIB = saved("LIB", "20000-2000F SR")
ROWS = (
    Row(
        "1.1-form",
        (
            ("CP DEFSEG A 20000-200FF EW 20100-201FF EN LOADNSHR SECURE", DEFINED.format("A", 1)),
            ("CP DEFSEG B 30000-300FF SR RSTD", DEFINED.format("B", 2)),
            (
                "CP QUERY NSS ATTR",
                f"{ATTRIBUTES}\n0001 A        DCSS     S  LOADNSHR SECURE\n0002 B        DCSS     S  RSTD",
            ),
            ("CP DEFSEG C", "HCPCMD026E Operand missing or invalid"),
            ("CP DEFSEG C 40000-400FF SR SPACE S", "HCPCMD003E Invalid option - SPACE"),
        ),
    ),
    Row(
        "1.1-class-e",
        (
            ("G DEFSEG LIB 20000-2000F SR", "HCPCMD001E Unknown CP command: DEFSEG"),
            ("G SAVESEG LIB", "HCPCMD001E Unknown CP command: SAVESEG"),
            ("M DEFSEG LIB 20000-2000F SR", DEFINED.format("LIB", 1)),
        ),
    ),
    Row(
        "1.1-names",
        (
            ("CP DEFSEG ABCDEFG8 20000-2000F SR", DEFINED.format("ABCDEFG8", 1)),
            ("CP DEFSEG ABCDEFGH9 20000-2000F SR", "HCPCMD002E Invalid operand - ABCDEFGH9"),
            ("CP DEFSEG A-B 20000-2000F SR", "HCPCMD002E Invalid operand - A-B"),
        ),
    ),
    Row(
        "1.1-skeleton",
        (
            ("CP DEFSEG LIB 20000-2000F SR", DEFINED.format("LIB", 1)),
            ("LOAD G LIB", "cc 2 code 44"),
            ("CP SAVESEG LIB", SAVED.format("LIB", 1)),
            ("LOAD G LIB", "cc 0"),
        ),
    ),
    Row(
        "1.1-pages",
        (
            ("CP DEFSEG ONE 20000-20000 SR", DEFINED.format("ONE", 1)),
            ("CP DEFSEG ABC ABCDE-abcdf SR", DEFINED.format("ABC", 2)),
            ("CP DEFSEG X 2000G-20010 SR", "HCPCMD005E Invalid hexdata - 2000G-20010"),
            ("CP DEFSEG X 20010-2000F SR", "HCPCMD005E Invalid hexdata - 20010-2000F"),
            (
                "CP QUERY NSS MAP",
                f"{MAP}\n0001 ONE      DCSS     N/A     20000  20000  SR   S   00000 N/A      N/A\n"
                "0002 ABC      DCSS     N/A     ABCDE  ABCDF  SR   S   00000 N/A      N/A",
            ),
        ),
    ),
    Row(
        "1.1-highest-page",
        (
            ("CP DEFSEG TOP 7FFFFFF-7FFFFFF SR", DEFINED.format("TOP", 1)),
            ("CP DEFSEG X 7FFFFFF-8000000 SR", "HCPCMD005E Invalid hexdata - 7FFFFFF-8000000"),
        ),
    ),
    Row(
        "1.1-megabyte",
        (
            ("CP DEFSEG SHARED 20000-2000F SR 20010-2001F SW 20020-200FF SN", DEFINED.format("SHARED", 1)),
            ("CP DEFSEG OWN 20000-2000F EW 20010-2001F ER 20020-200FF EN", DEFINED.format("OWN", 2)),
            ("CP DEFSEG BOTH 20000-200FF SR 20100-201FF EW", DEFINED.format("BOTH", 3)),
            (
                "CP DEFSEG X 20000-2000F SR 20010-2001F EW",
                "HCPDCS9001E segment X: ranges 20000-2000F SR and 20010-2001F EW lie in one megabyte, whose 256 pages"
                " must be all exclusive or all shared",
            ),
        ),
    ),
    Row(
        "1.1-unlisted",
        (
            ("STORAGE words", ""),
            ("M DEFSEG LIB 20000-20000 SR 20002-20002 SR", DEFINED.format("LIB", 1)),
            ("M SAVESEG LIB", SAVED.format("LIB", 1)),
            ("LOAD G LIB", "cc 0"),
            ("READ G LIB 0", "words"),
            ("READ G LIB 1", ""),
            ("READ G LIB 2", "words"),
        ),
    ),
    Row(
        "1.1-loadnshr",
        (
            ("CP DEFSEG X 20000-2000F SR LOADNSHR RSTD", "HCPCMD013E Conflicting option - RSTD"),
            (
                "CP DEFSEG X 20000-2000F SC LOADNSHR",
                "HCPDCS9001E segment X: LOADNSHR goes neither with RSTD nor with a range of type SC",
            ),
        ),
    ),
    Row(
        "1.1-rstd",
        (
            *saved("SECRET", "20000-2000F SR RSTD"),
            ("CP QUERY NSS USERS", f"{USERS}\n0001 SECRET   DCSS     R  00000"),
            ("LOAD G SECRET", "cc 2 code 45"),
            ("LOAD E SECRET", "cc 0"),
        ),
    ),
    Row(
        "1.1-SC",
        (
            *saved("MONDCSS", "9000-97FF SC RSTD"),
            ("LOAD E MONDCSS", "cc 0"),
            ("READ E MONDCSS", ""),
            ("CP STORE NSS MONDCSS 9000000 C3D7", "STORE COMPLETE"),
            ("READ E MONDCSS", "\xc3\xd7"),
            ("WRITE E MONDCSS words", "refused"),
            ("RESTART", ""),
            ("LOAD E MONDCSS", "cc 0"),
            ("READ E MONDCSS", ""),
        ),
    ),
    Row(
        "1.2-saveseg",
        (
            ("STORAGE of M", ""),
            ("M DEFSEG LIB 20000-2000F SR", DEFINED.format("LIB", 1)),
            ("M SAVESEG LIB", SAVED.format("LIB", 1)),
            ("LOAD G LIB", "cc 0"),
            ("READ G LIB", "of M"),
        ),
    ),
    Row(
        "1.2-saveseg-addressable",
        (
            ("STORAGE of E", ""),
            *saved("LIB", "20000-2000F SR"),
            ("E DEFSEG LIB 20000-2000F SR 20010-2001F SN", DEFINED.format("LIB", 2)),
            ("E SAVESEG LIB", NOT_ADDRESSABLE.format("20000-2000F")),
            ("LOAD E LIB", "cc 0"),
            ("E SAVESEG LIB", SAVED.format("LIB", 2)),
            ("LOAD E LIB", "cc 0"),
            ("READ E LIB", "of E"),
            ("E DEFSEG LIB 20000-20020 SR", DEFINED.format("LIB", 3)),
            ("E SAVESEG LIB", NOT_ADDRESSABLE.format("20000-20020")),
            ("READ E LIB", "of E"),
        ),
    ),
    Row(
        "1.2-rstd-class",
        (*saved("LIB", "20000-2000F SR RSTD"), ("CP Q NSS USERS", f"{USERS}\n0001 LIB      DCSS     R  00000")),
    ),
    Row(
        "1.2-not-saved",
        (
            ("STORAGE of M", ""),
            ("M DEFSEG LIB 20000-2000F SN", DEFINED.format("LIB", 1)),
            ("M SAVESEG LIB", SAVED.format("LIB", 1)),
            ("LOAD G LIB", "cc 0"),
            ("READ G LIB", ""),
            ("WRITE G LIB words", "5"),
            ("LOAD E LIB", "cc 0"),
            ("READ E LIB", "words"),
            ("DROP G LIB", "cc 0"),
            ("DROP E LIB", "cc 0"),
            ("LOAD E LIB", "cc 0"),
            ("READ E LIB", ""),
        ),
    ),
    Row(
        "1.2-one-available",
        (
            *LIB,
            ("LOAD G LIB", "cc 0"),
            ("STORAGE newer", ""),
            ("M DEFSEG LIB 20000-2000F SR", DEFINED.format("LIB", 2)),
            ("M SAVESEG LIB", SAVED.format("LIB", 2)),
            (
                "CP Q NSS USERS",
                f"{USERS}\n0001 LIB      DCSS     P  00001\n     G\n0002 LIB      DCSS     A  00000",
            ),
            ("LOAD E LIB", "cc 0"),
            ("READ E LIB", "newer"),
            ("READ G LIB", ""),
            ("DROP G LIB", "cc 0"),
            ("CP Q NSS USERS", f"{USERS}\n0002 LIB      DCSS     A  00001\n     E"),
        ),
    ),
    Row(
        "1.2-skeleton-beside-available",
        (
            *LIB,
            ("CP DEFSEG LIB 20000-2001F SR", DEFINED.format("LIB", 2)),
            (
                "CP Q NSS MAP",
                f"{MAP}\n0001 LIB      DCSS     N/A     20000  2000F  SR   A   00000 N/A      N/A\n"
                "0002 LIB      DCSS     N/A     20000  2001F  SR   S   00000 N/A      N/A",
            ),
            ("LOAD G LIB", "cc 0"),
        ),
    ),
    Row(
        "1.2-spool",
        (
            *LIB,
            ("RESTART", ""),
            ("LOAD G LIB", "cc 0"),
            ("CP Q NSS USERS", f"{USERS}\n0001 LIB      DCSS     A  00001\n     G"),
        ),
    ),
    Row(
        "1.2-class-p",
        (
            *LIB,
            ("LOAD G LIB", "cc 0"),
            ("LOAD E LIB", "cc 0"),
            ("CP PURGE NSS NAME LIB", "0001 FILE  PENDING PURGE"),
            ("CP Q NSS USERS", f"{USERS}\n0001 LIB      DCSS     P  00002\n     E        G"),
            ("DROP G LIB", "cc 0"),
            ("LOAD G LIB", "cc 2 code 44"),
            ("DROP E LIB", "cc 0"),
            ("CP Q NSS", "NO NSS FILES"),
            *saved("LIB", "20000-2000F SR", 2),
            ("LOAD G LIB", "cc 0"),
            ("CP PURGE NSS ALL", "0001 FILE  PENDING PURGE"),
            ("RESTART", ""),
            ("CP Q NSS", "NO NSS FILES"),
        ),
    ),
    Row(
        "1.3-query",
        (
            *LIB,
            ("CP DEFSEG APP 30000-3000F SR", DEFINED.format("APP", 2)),
            ("CP QUERY NSS NAME APP USERS", f"{USERS}\n0002 APP      DCSS     S  00000"),
            ("CP QUERY NSS 0001 USERS", f"{USERS}\n0001 LIB      DCSS     A  00000"),
            ("CP QUERY NSS ALL USERS", f"{USERS}\n0001 LIB      DCSS     A  00000\n0002 APP      DCSS     S  00000"),
            ("G QUERY NSS", "HCPCQU003E Invalid option - NSS"),
            ("E QUERY NSS 2 ATTRIBUTES", f"{ATTRIBUTES}\n0002 APP      DCSS     S"),
        ),
    ),
    Row(
        "1.3-map",
        (
            *saved("MONDCSS", "9000-97FF SC RSTD"),
            ("CP QUERY NSS MAP", f"{MAP}\n0001 MONDCSS  CPDCSS   N/A     09000  097FF  SC   R   00000 N/A      N/A"),
        ),
    ),
    Row(
        "1.3-purge",
        (
            *LIB,
            *saved("APP", "30000-3000F SR", 2),
            *saved("TOO", "40000-4000F SR", 3),
            ("LOAD G APP", "cc 0"),
            ("CP PURGE NSS NAME LIB", "0001 FILE  PURGED"),
            ("CP PURGE NSS 2", "0001 FILE  PENDING PURGE"),
            ("CP PURGE NSS ALL", "0001 FILE  PURGED\n0001 FILE  PENDING PURGE"),
        ),
    ),
    Row(
        "1.3-namesave",
        (*saved("SECRET", "20000-2000F SR RSTD"), ("PRIVATE G SECRET", "cc 2 code 45"), ("PRIVATE E SECRET", "cc 0")),
    ),
    Row(
        "1.4-messages",
        (
            ("CP DEFSEG A.B 1-2 SR", "HCPCMD002E Invalid operand - A.B"),
            ("CP DEFSEG A 1-2 SR QUICKLY", "HCPCMD003E Invalid option - QUICKLY"),
            ("CP DEFSEG A 1+2 SR", "HCPCMD005E Invalid hexdata - 1+2"),
            ("CP DEFSEG A 1-2 SR RSTD RSTD", "HCPCMD013E Conflicting option - RSTD"),
        ),
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fact)
def test_what_cp_does(stage: Stage, row: Row) -> None:
    for step, wanted in row.steps:
        assert stage.do(step) == wanted, step


class TypeRow(NamedTuple):
    """A page type: who sees a store by one guest that loaded the segment shared, and what SAVESEG keeps."""

    fact: str
    byte: int
    store: str
    kept: bool


TYPES = (
    TypeRow("1.1-SW", 0, "seen by all", kept=True),
    TypeRow("1.1-EW", 1, "private", kept=True),
    TypeRow(
        "1.1-SR", 2, "private", kept=True
    ),  # CP's descriptor refuses a shared store; the guest's mapping says the rest
    TypeRow("1.1-ER", 3, "private", kept=True),
    TypeRow("1.1-SN", 4, "seen by all", kept=False),
    TypeRow("1.1-EN", 5, "private", kept=False),
    TypeRow("1.1-SC", 6, "private", kept=False),
)


@pytest.mark.parametrize("row", TYPES, ids=lambda row: row.fact)
def test_types_mean_what_they_say(stage: Stage, row: TypeRow) -> None:
    kind = row.fact.removeprefix("1.1-")
    stage.do("STORAGE saved")
    stage.do(f"M DEFSEG LIB 20000-2000F {kind}")
    stage.do("M SAVESEG LIB")
    stage.do("LOAD G LIB")
    stage.do("LOAD E LIB")
    assert stage.do("READ G LIB") == ("saved" if row.kept else "")
    if row.store == "seen by all":
        stage.do("WRITE G LIB mine!")
        assert stage.do("READ E LIB") == "mine!"
    else:
        assert stage.do("WRITE G LIB mine!") == "refused"
    assert stage.cp.files[1].definition.ranges[0].type == row.byte
    stage.do("RESTART")
    stage.do("LOAD G LIB")
    assert stage.do("READ G LIB") == ("saved" if row.kept else "")
