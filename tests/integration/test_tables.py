"""Tables as CSV, and folded stacks: of a system with a file whose name has what separates cells and frames."""

import csv
import os
import subprocess
from collections.abc import Iterator
from io import StringIO

import pytest
from cli_support import GUEST, Dcss, made_user

ODD = b'/usr/lib/a;b,"c" \xff.so'


@pytest.fixture(scope="module")
def dcss() -> Iterator[Dcss]:
    with made_user() as user:
        path = os.fsencode(user.home / "tree") + ODD
        with open(path, "wb") as file:
            file.write(bytes(range(1, 251)) * 50)
        user("up", user.config(f"name: G, count: 2, {GUEST}, run: [{{map: '/usr/lib/*'}}]"), "-d")
        yield user
        user("down")


def output(dcss: Dcss, *words: str, status: int | None = 0) -> str:
    done = dcss(*words, text=False, stdout=subprocess.PIPE, status=status)
    content: object = done.stdout
    assert isinstance(content, bytes)
    return os.fsdecode(content)


def rows(dcss: Dcss, *words: str, status: int | None = 0) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(output(dcss, *words, status=status))))


def test_accounts(dcss: Dcss) -> None:
    document = dcss.json("measure")
    found = rows(dcss, "measure", "--csv")
    assert [row["name"] for row in found] == ["G01", "G02"]
    assert found[0]["xip_bytes"] == str(document["guests"][0]["guest"]["xip_bytes"])
    assert found[0]["pids"] == str(document["guests"][0]["pids"][0])
    assert [row["name"] for row in rows(dcss, "measure", "--csv", "segments")] == ["LIB"]
    assert {row["name"] for row in rows(dcss, "measure", "--csv", "others")} >= {"CP", "forkserver"}


def test_verdicts(dcss: Dcss) -> None:
    assert {row["holds"] for row in rows(dcss, "verify", "--csv")} <= {"true", ""}
    files = {row["path"]: row for row in rows(dcss, "verify", "--csv", "files")}
    assert files[os.fsdecode(ODD)]["guests"] == "G01;G02"
    assert len(files) == 21


def test_states_entries_and_findings(dcss: Dcss) -> None:
    assert [(row["system"], row["state"]) for row in rows(dcss, "ps", "--csv")] == [(dcss.system, "ready")] * 2
    assert [row["class"] for row in rows(dcss, "ps", "--csv", "segments")] == ["A"]
    dcss("image", "build", "tree", "-o", "tree.img")
    entries = rows(dcss, "image", "ls", "--csv", "tree.img", "/usr/lib")
    assert os.path.basename(os.fsdecode(ODD)) in {row["name"] for row in entries}  # noqa: PTH119
    assert {row["state"] for row in rows(dcss, "doctor", "--csv")} <= {"ok", "limit", "missing"}


@pytest.mark.parametrize(
    ("words", "table", "path"),
    [
        ("config system.yaml", None, ["segments"]),
        ("config system.yaml", "guests", ["guests"]),
        ("advise tree tree", None, ["files"]),
        ("advise tree tree", "inputs", ["inputs"]),
        ("advise tree tree", "forecasts", ["forecasts"]),
        ("image map tree.img", None, ["files"]),
        ("segment query --system {system}", None, ["segments"]),
        ("segment spools", None, ["spools"]),
        ("inspect {pids}", None, ["processes"]),
        ("inspect {pids}", "objects", ["objects"]),
        ("inspect {pids}", "claims", ["verify", "claims"]),
    ],
)
def test_a_table_has_the_names_and_rows_of_the_document(
    dcss: Dcss, words: str, table: str | None, path: list[str]
) -> None:
    if words.startswith("image"):
        dcss("image", "build", "tree", "-o", "tree.img")
    if words == "segment spools":
        dcss("segment", "define", "SEG", "30000-301FF SR", "--system", f"{dcss.system}-spool")
    pids = f"{dcss.pid_of('G01')} {dcss.pid_of('G02')}"
    command = words.format(system=dcss.system, pids=pids).split()
    document = dcss.json(*command, status=None)
    for name in path:
        document = document[name]
    csv_words = ["--csv", *([] if table is None else [table])]
    found = rows(dcss, *command, *csv_words, status=None)
    assert len(found) == len(document) > 0
    flat = [name for name, value in document[0].items() if not isinstance(value, dict)]
    assert [name for name in found[0] if name in flat] == flat


def test_a_run_has_the_tables_of_both_results(dcss: Dcss) -> None:
    path = dcss.config(f"name: R, {GUEST}, run: [{{map: '/usr/lib/*'}}]", name=f"{dcss.system}-run", path="run.yaml")
    outcomes = rows(dcss, "run", str(path), "--csv", "outcomes", status=None)
    assert [(row["name"], row["exit_status"]) for row in outcomes] == [("R", "0")]
    claims = rows(dcss, "run", str(path), "--csv", "claims", status=None)
    assert {row["claim"] for row in claims} >= {"one-frame-per-page", "no-hidden-copies", "books-close"}


def test_findings_of_a_damaged_image(dcss: Dcss) -> None:
    dcss("image", "build", "tree", "-o", "damaged.img")
    image = bytearray((dcss.home / "damaged.img").read_bytes())
    image[1024 + 16 : 1024 + 20] = bytes(4)  # s_free_inodes_count
    (dcss.home / "damaged.img").write_bytes(image)
    assert [row["where"] for row in rows(dcss, "image", "check", "damaged.img", "--csv", status=1)] == ["superblock"]


def test_folded_stacks(dcss: Dcss) -> None:
    stacks = [line.rpartition(" ")[::2] for line in output(dcss, "measure", "--folded").splitlines()]
    sizes = {tuple(stack.split(";")): int(size) for stack, size in stacks}
    assert len(sizes) == len(stacks)
    odd = "/usr/lib/a\\x3b" + os.fsdecode(ODD).partition(";")[2]
    assert sizes["G01", "LIB", odd] == 4 * 4096
    mapped = sum(size for stack, size in sizes.items() if stack[:2] == ("G02", "LIB"))
    (account,) = [row for row in rows(dcss, "measure", "--csv") if row["name"] == "G02"]
    assert mapped == int(account["xip_bytes"])
    assert (("G01", "private") in sizes) == bool(account["uss_bytes"])


@pytest.mark.parametrize(
    "words",
    [
        ["measure", "--csv", "--json"],
        ["measure", "--folded", "--csv"],
        ["measure", "--folded", "--watch"],
        ["verify", "--json", "--csv", "files"],
        ["ps", "--csv", "--watch"],
        ["inspect", "1", "2", "--csv", "--watch"],
        ["run", "system.yaml", "--csv", "--json"],
        ["measure", "--csv", "files"],
    ],
)
def test_one_form_at_a_time(dcss: Dcss, words: list[str]) -> None:
    assert "wanted one of them" in (err := dcss(*words, status=2).stderr) or "'files' is not one of" in err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("ps --csv", "system,name,engine,state,since,pid,segments,restarts,exit_status,reason,log,private_bytes"),
        ("ps --csv segments", "system,name,file,class,shm,bytes,guests"),
        ("segment spools --csv", "system,directory,files,bytes"),
        ("segment query --system nothing --csv", "file,name,filetype,class,ranges,"),
        ("image check empty.img --csv", "kind,where,detail"),
        ("image map empty.img --csv", "path,inode,size_bytes,"),
    ],
)
def test_a_table_without_rows_has_its_names(words: str, names: str) -> None:
    with made_user() as user:
        (user.home / "empty").mkdir()
        user("image", "build", "empty", "-o", "empty.img")
        (line,) = output(user, *words.split()).splitlines()
        assert line.startswith(names)
