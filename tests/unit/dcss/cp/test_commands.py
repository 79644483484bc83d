"""CP's commands: z/VM's columns and message form, abbreviations, privilege classes."""

import hashlib
import os
import pickle
import re
from collections.abc import Iterator

import pytest
from cp_support import BlockingCp, control_program, define, filler

from dcss.abi.extmem import SegmentName
from dcss.cp.console.commands import COMMANDS, find_command
from dcss.cp.console.messages import INVALID_OPERAND, CommandError
from dcss.cp.requests import Issuer, Response

LOADSHRX = 0x20


@pytest.fixture
def cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        yield running


def load(cp: BlockingCp, guest: str, name: str) -> bytes:
    if guest not in cp.machines:
        cp.register(guest, storage_bytes=0, namesave=frozenset({name}))
    request = b"".join(number.to_bytes(8, "big") for number in (0x64, 0x1000, LOADSHRX))
    reply = cp.handle(guest, request + name.ljust(8).encode("cp037"))
    return b"" if reply.descriptor is None else os.pread(reply.descriptor, 8, 0).rstrip(b"\0")


def check(response: Response, *lines: str, return_code: int = 0) -> None:
    assert (response.return_code, response.lines) == (return_code, lines)


def test_define_save_load_purge(cp: BlockingCp) -> None:
    check(
        cp.execute("defseg lib 20000-2000f sr"),
        "HCPNSD440I Saved segment LIB was successfully defined in fileid 0001.",
    )
    assert load(cp, "A", "LIB") == b""
    check(cp.execute("saveseg lib"), "HCPNSS440I Saved segment LIB was successfully saved in fileid 0001.")
    load(cp, "A", "LIB")
    assert cp.users("LIB") == 1
    check(cp.execute("PURGE NSS NAME LIB"), "0001 FILE  PENDING PURGE")
    assert cp.files[1].file_class == "P"
    cp.release("A")
    check(cp.execute("QUERY NSS"), "NO NSS FILES")
    check(cp.execute("PURGE NSS ALL"), "NO FILES PURGED")


def test_the_plain_list_shows_dcss_alone(cp: BlockingCp) -> None:
    """FACTS 1.3, from CPREF: the longer file types stand in MAP and ATTRIBUTES."""
    cp.saved.store(define("MONDCSS", "9000-97FF SC"), filler(b""))
    assert cp.execute("QUERY NSS").lines[1].endswith(" MONDCSS  DCSS     OPERATOR")
    assert cp.execute("QUERY NSS MAP").lines[1].startswith("0001 MONDCSS  CPDCSS   ")
    assert cp.execute("QUERY NSS ATTRIBUTES").lines[1] == "0001 MONDCSS  CPDCSS   A"


def test_a_second_defseg_of_a_name_is_299e(cp: BlockingCp) -> None:
    """FACTS 1.4 and 9: SMAPI hands on 600/299, "class S file exists". Inferred, so the text is ours."""
    cp.execute("DEFSEG LIB 20000-2000F SR")
    refused = "HCPNSD299E Saved segment LIB is defined already, in fileid 0001; SAVESEG LIB, or PURGE NSS 0001 first"
    again = cp.execute("DEFSEG LIB 30000-3000F SR")
    assert (again.return_code, again.lines) == (299, (refused,))
    assert cp.execute("QUERY NSS MAP").lines[1].split()[4:6] == ["20000", "2000F"]
    assert cp.execute("DEFSEG OTHER 30000-3000F SR").return_code == 0
    assert cp.execute("SAVESEG LIB").return_code == 0
    assert cp.execute("DEFSEG LIB 30000-3000F SR").return_code == 0  # a skeleton beside the available one
    assert cp.execute("PURGE NSS 0003").return_code == 0
    assert cp.execute("DEFSEG LIB 40000-4000F SR").return_code == 0


def test_map_is_z_vms_to_the_column(cp: BlockingCp) -> None:
    """Header and line as IBM's device driver book prints them (FACTS 1.3), trailing blanks aside."""
    cp.cp._directory._last_spid = 10
    cp.saved.store(define("MONDCSS", "9000-97FF SC", restricted=True), filler(b""))
    for guest in "ABC":
        load(cp, guest, "MONDCSS")
    check(
        cp.execute("QUERY NSS MAP"),
        "FILE FILENAME FILETYPE MINSIZE BEGPAG ENDPAG TYPE CL #USERS PARMREGS VMGROUP",
        "0011 MONDCSS  CPDCSS   N/A     09000  097FF  SC   R   00003 N/A      N/A",
    )


def test_map_of_several_ranges_and_high_pages(cp: BlockingCp) -> None:
    cp.execute("DEFSEG A 100-1FF EW 200-2FF EN")
    cp.execute("DEFSEG HIGH 7FFFF00-7FFFFFF SR")
    cp.execute("DEFSEG SIX 100000-1000FF SC")
    check(
        cp.execute("Q NSS ALL MAP"),
        "FILE FILENAME FILETYPE MINSIZE BEGPAG ENDPAG TYPE CL #USERS PARMREGS VMGROUP",
        "0001 A        DCSS     N/A     00100  001FF  EW   S   00000 N/A      N/A",
        "                               00200  002FF  EN",
        "0002 HIGH     DCSS     N/A     7FFFF00 7FFFFFF SR   S   00000 N/A      N/A",
        "0003 SIX      CPDCSS   N/A     100000 1000FF SC   S   00000 N/A      N/A",
    )


def test_list_is_z_vms(cp: BlockingCp) -> None:
    cp.execute("DEFSEG LIB 20000-2000F SR", Issuer("MAINT", frozenset("E")))
    cp.saved.store(define("BIG", "40000-483FF SN", "48400-484FF SR"), filler(b""))
    cp.saved.store(define("WIDE", "50000-583FF SR"), lambda _: None)
    header, *lines = cp.execute("query nss").lines
    assert header == "OWNERID  FILE TYPE CL RECS DATE  TIME     FILENAME FILETYPE ORIGINID"
    moment = r"\d\d/\d\d \d\d:\d\d:\d\d"
    for line, pattern in zip(
        lines,
        [
            rf"\*NSS     0001 NSS  S  0001 {moment} LIB      DCSS     MAINT",
            rf"\*NSS     0002 NSS  A  0257 {moment} BIG      DCSS     OPERATOR",
            rf"\*NSS     0003 NSS  A  033K {moment} WIDE     DCSS     OPERATOR",
        ],
        strict=True,
    ):
        assert re.fullmatch(pattern, line)


def test_attributes_and_users(cp: BlockingCp) -> None:
    cp.saved.store(define("LIB", "20000-2000F SR", restricted=True, secure=True), filler(b""))
    cp.execute("DEFSEG APP 30000-3000F EW LOADNSHR")
    for number in range(8):
        load(cp, f"LINUX{number:02d}", "LIB")
    check(
        cp.execute("QUERY NSS ATTR"),
        "FILE FILENAME FILETYPE CL ATTRIBUTES",
        "0001 LIB      DCSS     R  RSTD SECURE",
        "0002 APP      DCSS     S  LOADNSHR",
    )
    check(
        cp.execute("QUERY NSS NAME LIB USERS"),
        "FILE FILENAME FILETYPE CL USERS",
        "0001 LIB      DCSS     R  00008",
        "     LINUX00  LINUX01  LINUX02  LINUX03  LINUX04  LINUX05",
        "     LINUX06  LINUX07",
    )


def test_selection_by_name_and_number(cp: BlockingCp) -> None:
    for name, pages in (("A", "100-1FF"), ("B", "200-2FF"), ("A", "100-2FF")):
        cp.execute(f"DEFSEG {name} {pages} SR")
        cp.execute(f"SAVESEG {name}")
    cp.execute("DEFSEG A 100-3FF SR")
    assert [row["file"] for row in cp.execute("QUERY NSS NAME A").data or []] == [3, 4]
    assert [row["file"] for row in cp.execute("QUERY NSS 2 MAP").data or []] == [2]
    check(cp.execute("PURGE NSS 0003"), "0001 FILE  PURGED")
    check(cp.execute("PUR NSS NAME A"), "0001 FILE  PURGED")
    check(cp.execute("PURGE NSS NAME A"), "HCPDCS9003E System data file A does not exist", return_code=9003)
    check(cp.execute("PURGE NSS ALL"), "0001 FILE  PURGED")
    assert cp.files == {}


def test_purge_all_counts_both_kinds(cp: BlockingCp) -> None:
    for name, pages in (("A", "100-1FF"), ("B", "200-2FF"), ("C", "300-3FF")):
        cp.publish(define(name, f"{pages} SR"), filler(b""))
    load(cp, "G", "B")
    check(cp.execute("PURGE NSS ALL"), "0002 FILES PURGED", "0001 FILE  PENDING PURGE")


def test_saveseg_of_a_name_in_use(cp: BlockingCp) -> None:
    cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"old"))
    assert load(cp, "A", "LIB") == b"old"
    cp.register(
        "MAINT", storage_bytes=1 << 30, dump=lambda fd, address, size: os.pwrite(fd, b"%x %x" % (address, size), 0)
    )
    maint = Issuer("MAINT", frozenset("EG"), cp.machines["MAINT"])
    cp.execute("DEFSEG LIB 20000-2001F SR", maint)
    check(cp.execute("SAVESEG LIB", maint), "HCPNSS440I Saved segment LIB was successfully saved in fileid 0002.")
    assert {spid: (file.file_class, file.owner) for spid, file in cp.files.items()} == {
        1: ("P", "OPERATOR"),
        2: ("A", "MAINT"),
    }
    assert load(cp, "B", "LIB") == b"20000000"  # the dump of MAINT's storage
    assert os.pread(cp.loaded("A")[SegmentName("LIB")].descriptor, 3, 0) == b"old"
    cp.release("A")
    assert list(cp.files) == [2]


def test_saveseg_of_the_operator_loses_no_content(cp: BlockingCp) -> None:
    """z/VM saves the storage of who says it. The operator has none here: zeros, but never over content."""
    cp.saved.store(define("LIB", "20000-2000F SR"), filler(b"words"))
    cp.execute("DEFSEG LIB 20000-2001F SR")
    check(
        cp.execute("SAVESEG LIB"),
        "HCPDCS9007E Saved segment LIB has content (file 0001) and OPERATOR no storage to put in its place; save it"
        " from an image (dcss segment save LIB --image SRC) or from a guest, or PURGE NSS 0001 first",
        return_code=9007,
    )
    assert {spid: file.file_class.value for spid, file in cp.files.items()} == {1: "A", 2: "S"}
    assert load(cp, "A", "LIB") == b"words"
    cp.execute("PURGE NSS 0001")
    check(cp.execute("SAVESEG LIB"), "HCPNSS440I Saved segment LIB was successfully saved in fileid 0002.")
    assert os.pread(cp.loaded("A")[SegmentName("LIB")].descriptor, 5, 0) == b"words"  # who has it, keeps it


@pytest.mark.parametrize("kind", ["SR", "SN", "SC"])
def test_saveseg_of_the_operator_over_zeros(cp: BlockingCp, kind: str) -> None:
    for spid in (1, 2):
        cp.execute(f"DEFSEG LIB 20000-2{spid}00F {kind}")
        check(cp.execute("SAVESEG LIB"), f"HCPNSS440I Saved segment LIB was successfully saved in fileid {spid:04d}.")
    assert list(cp.files) == [2]


@pytest.mark.parametrize("kind", ["SR", "SC"])
def test_saveseg_of_the_operator_over_what_is_not_in_the_spool(cp: BlockingCp, kind: str) -> None:
    for content, return_code in ((b"words", 9007), (b"", 0)):
        cp.publish(define("LIB", f"20000-2000F {kind}"), filler(content))
        cp.execute("DEFSEG LIB 20000-2001F SR")
        assert cp.execute("SAVESEG LIB").return_code == return_code


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("1FF00-1FFFF SR", None),
        ("1FF80-202FF SR", None),
        ("1FF80-20300 SR", "1FF80-20300"),
        ("20080-2017F SR", None),
        ("20080-2017F SR 30000-30000 SN", None),
        ("20080-2017F SR 30000-30000 SW", "30000-30000"),
        ("20400-204FF SR", "20400-204FF"),
    ],
)
def test_a_guest_saves_storage_and_segments_as_they_lie_side_by_side(
    cp: BlockingCp, words: str, missing: str | None
) -> None:
    cp.register("MAINT", storage_bytes=0x20000000, dump=lambda *_: None)
    for name, pages in (("B", "20100-202FF"), ("A", "20000-200FF"), ("C", "20500-205FF")):
        cp.publish(define(name, f"{pages} SR"), filler(b""))
        load(cp, "MAINT", name)
    maint = Issuer("MAINT", frozenset("E"), cp.machines["MAINT"])
    cp.execute(f"DEFSEG WIDE {words}", maint)
    response = cp.execute("SAVESEG WIDE", maint)
    if missing is None:
        assert response.return_code == 0
    else:
        assert response.lines[0].startswith(f"HCPDCS9009E Pages {missing} of saved segment WIDE are not in the storage")


def test_store_writes_what_cp_writes_and_nothing_else(cp: BlockingCp) -> None:
    cp.execute("DEFSEG MONDCSS 9000-90FF SC 9100-91FF SR")
    check(
        cp.execute("STORE NSS MONDCSS 9000000 00"),
        "HCPDCS9006E Saved segment MONDCSS is defined and not saved yet; SAVESEG it first",
        return_code=9006,
    )
    cp.execute("SAVESEG MONDCSS")
    response = cp.execute("sto nss mondcss 9000ffe c1c2c3c4 f0")
    check(response, "STORE COMPLETE")
    segment = cp.files[1]
    assert bytes(segment.object.buffer[0xFFC:0x1004]) == b"\0\0\xc1\xc2\xc3\xc4\xf0\0"
    assert segment.digest == hashlib.sha256(segment.object.buffer).hexdigest()
    for operands, answer in (
        ("90FFFFF 00", None),
        ("90FFFFF 0000", "HCPDCS9008E Storage 90FFFFF-9100000 is not in pages of type SC of saved segment MONDCSS"),
        ("8FFFFFF 0000", "HCPDCS9008E Storage 8FFFFFF-9000000 is not"),
        ("9100000 00", "HCPDCS9008E"),
        ("9000000 0", "HCPCMD005E Invalid hexdata - 0"),
        ("9000000 00 XY", "HCPCMD005E Invalid hexdata - XY"),
        ("X 00", "HCPCMD005E Invalid hexdata - X"),
    ):
        found = cp.execute(f"STORE NSS MONDCSS {operands}").lines[0]
        assert found.startswith(answer or "STORE COMPLETE")
    assert segment.object.buffer[0x100000 - 1 :].tobytes().count(0) == 0x100001
    check(
        cp.execute("STORE NSS MONDCSS 9000000 00", Issuer("LINUX01", frozenset("EG"))),
        "HCPCMD001E Unknown CP command: STORE",
        return_code=1,
    )


def test_comments_are_no_commands(cp: BlockingCp) -> None:
    check(cp.execute("* the libraries"))
    check(cp.execute("*the libraries", Issuer("LINUX01", frozenset("G"))))


@pytest.mark.parametrize(
    ("line", "answer", "return_code"),
    [
        ("NONSENSE", "HCPCMD001E Unknown CP command: NONSENSE", 1),
        ("DEFSE LIB 1-2 SR", "HCPCMD001E Unknown CP command: DEFSE", 1),
        ("PU NSS ALL", "HCPCMD001E Unknown CP command: PU", 1),
        ("SAVESEG", "HCPCMD026E Operand missing or invalid", 26),
        ("SAVESEG A B", "HCPCMD003E Invalid option - command contains extra option(s) starting with B", 3),
        ("SAVESEG LIB", "HCPDCS9002E Saved segment LIB is not defined, or is saved already; DEFSEG it first", 9002),
        ("PURGE", "HCPCMD026E Operand missing or invalid", 26),
        ("PURGE NSS", "HCPCMD026E Operand missing or invalid", 26),
        ("PURGE NSS NAME", "HCPCMD026E Operand missing or invalid", 26),
        ("PURGE NSS ALL MAP", "HCPCMD003E Invalid option - command contains extra option(s) starting with MAP", 3),
        ("QUERY USERID A", "HCPCMD003E Invalid option - command contains extra option(s) starting with A", 3),
        ("STORE", "HCPCMD026E Operand missing or invalid", 26),
        ("STORE NSS LIB 20000000", "HCPCMD026E Operand missing or invalid", 26),
        ("STORE NSS LIB 20000000 00", "HCPDCS9003E System data file LIB does not exist", 9003),
        ("QUERY", "HCPCMD026E Operand missing or invalid", 26),
        ("QUERY DASD", "HCPCQU003E Invalid option - DASD", 3),
        ("QUERY NSS SIDEWAYS", "HCPCQU003E Invalid option - SIDEWAYS", 3),
        ("QUERY NSS MAP USERS", "HCPCMD013E Conflicting option - USERS", 13),
        ("QUERY NSS NAME B.D", "HCPCMD002E Invalid operand - B.D", 2),
        ("QUERY NSS 17", "HCPDCS9003E System data file 17 does not exist", 9003),
        ("QUERY NSS ١", "HCPCQU003E Invalid option - ١", 3),
    ],
)
def test_refusals(cp: BlockingCp, line: str, answer: str, return_code: int) -> None:
    check(cp.execute(line), answer, return_code=return_code)
    assert cp.files == {}


def test_privilege_classes(cp: BlockingCp) -> None:
    guest = Issuer("LINUX01", frozenset("G"))
    for line in ("DEFSEG LIB 1-2 SR", "SAVESEG LIB", "PURGE NSS ALL"):
        check(cp.execute(line, guest), f"HCPCMD001E Unknown CP command: {line.split()[0]}", return_code=1)
    check(cp.execute("QUERY NSS", guest), "HCPCQU003E Invalid option - NSS", return_code=3)
    check(cp.execute("Q USERID", guest), f"LINUX01  AT {cp.system.upper()}")
    check(cp.execute("  "))


def test_cp_before_a_command_is_what_a_terminal_of_z_vm_takes(cp: BlockingCp) -> None:
    check(cp.execute("CP Q NSS"), "NO NSS FILES")
    check(cp.execute("#cp  cp query nss"), "NO NSS FILES")
    check(cp.execute("#CP"))
    check(cp.execute("CPQ NSS"), "HCPCMD001E Unknown CP command: CPQ", return_code=1)


def test_query_names_shows_who_is_logged_on_to_every_class(cp: BlockingCp) -> None:
    check(cp.execute("QUERY NAMES"), "OPERATOR - DSC")
    for number in range(1, 5):
        cp.register(f"L{number}", storage_bytes=0)
    wanted = ("OPERATOR - DSC , L1       - DSC , L2       - DSC , L3       - DSC", "L4       - DSC")
    check(cp.execute("q nam", Issuer("L1", frozenset("G"))), *wanted)
    check(
        cp.execute("Q NAMES L1"),
        "HCPCMD003E Invalid option - command contains extra option(s) starting with L1",
        return_code=3,
    )
    check(cp.execute("Q NA"), "HCPCQU003E Invalid option - NA", return_code=3)


def test_guest_whose_storage_cannot_be_read_saves_nothing(cp: BlockingCp) -> None:
    cp.register("MAINT", storage_bytes=1 << 30)
    cp.execute("DEFSEG LIB 1-2 SR")
    check(
        cp.execute("SAVESEG LIB", Issuer("MAINT", frozenset("E"), cp.machines["MAINT"])),
        "HCPDCS9005E The storage of MAINT cannot be read, nothing was saved",
        return_code=9005,
    )
    assert cp.files[1].file_class == "S"


def test_failing_spool_is_an_answer(cp: BlockingCp) -> None:
    def dump(write_fd: int, address: int, size_bytes: int) -> None:
        raise OSError(28, "No space left on device")

    cp.register("MAINT", storage_bytes=1 << 30, dump=dump)
    cp.execute("DEFSEG LIB 1-2 SR")
    response = cp.execute("SAVESEG LIB", Issuer("MAINT", frozenset("E"), cp.machines["MAINT"]))
    assert response.return_code == 9004
    assert response.lines[0].startswith("HCPDCS9004E segment LIB: 8192 bytes could not be written to the spool")
    assert response.lines[0].count("\n") == 0


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Q", "QUERY"),
        ("QUE", "QUERY"),
        ("PUR", "PURGE"),
        ("PURG", "PURGE"),
        ("DEFSEG", "DEFSEG"),
        ("SAVESEG", "SAVESEG"),
        ("STO", "STORE"),
    ],
)
def test_abbreviations(word: str, name: str) -> None:
    found = find_command(word)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    ("word", "shows"),
    [
        ("MAP", "MAP"), ("MA", None), ("USER", "USERS"), ("USERS", "USERS"), ("USE", None), ("USERSS", None),
        ("ATTR", "ATTRIBUTES"), ("ATTRIBUTES", "ATTRIBUTES"), ("ATT", None),
    ],
)  # fmt: skip
def test_abbreviations_of_querys_options(cp: BlockingCp, word: str, shows: str | None) -> None:
    """docs/cp.md's upper case; ours, since public texts do not say how short they may be."""
    cp.execute("DEFSEG LIB 1-1 SR")
    wanted = cp.execute(f"QUERY NSS {shows}") if shows else Response(3, (f"HCPCQU003E Invalid option - {word}",))
    assert cp.execute(f"Q NSS {word}")[:2] == wanted[:2]


def test_usage_is_there_for_every_command() -> None:
    assert all(command.usage.startswith(command.name) for command in COMMANDS)


def test_command_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(CommandError(INVALID_OPERAND, operand="X")))
    assert (str(error), error.return_code) == ("HCPCMD002E Invalid operand - X", 2)
