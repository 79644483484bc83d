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


def output(dcss: Dcss, *words: str) -> str:
    done = dcss(*words, text=False, stdout=subprocess.PIPE)
    content: object = done.stdout
    assert isinstance(content, bytes)
    return os.fsdecode(content)


def rows(dcss: Dcss, *words: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(output(dcss, *words))))


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
        ["measure", "--csv", "files"],
    ],
)
def test_one_form_at_a_time(dcss: Dcss, words: list[str]) -> None:
    assert "wanted one of them" in (err := dcss(*words, status=2).stderr) or "'files' is not one of" in err
