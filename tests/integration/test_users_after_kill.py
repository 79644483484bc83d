"""Guests that were killed with SIGKILL use nothing: QUERY NSS and `dcss segment query` say so within a moment."""

from pathlib import Path

import pytest
from cli_support import GUEST, MAP, Dcss
from wait_support import kill, wait_until

GUESTS = 12
SEGMENTS = """\
  - {name: LIB, define: ["20000-201FF SR"], image: {directory: tree}, save: true}
  - {name: WORK, define: ["30000-300FF SN"]}"""


def start(dcss: Dcss) -> dict[str, int]:
    """Bring the guests up and return their processes."""
    dcss("up", dcss.config(f"name: G, count: {GUESTS}, {GUEST}, {MAP}", segment=SEGMENTS), "-d")
    return {guest["name"]: guest["pid"] for guest in dcss.ps()["guests"]}


def counts_of_cp(dcss: Dcss) -> dict[str, int]:
    """Return the user counts that QUERY NSS USERS shows, by file number, name and class."""
    lines = dcss("cp", "--system", dcss.system, "QUERY NSS USERS").stdout.splitlines()
    heads = [line.split() for line in lines[1:] if not line.startswith(" ")]
    return {" ".join((file, name, kind)): int(count) for file, name, _, kind, count in heads}


def users(dcss: Dcss) -> dict[str, list[str]]:
    """Return what `dcss segment query` has, by the same key."""
    rows = dcss.json("segment", "query", "--system", dcss.system)["segments"]
    return {f"{row['file']:04d} {row['name']} {row['class']}": row["users"] for row in rows}


def wait_for(dcss: Dcss, wanted: dict[str, list[str]]) -> None:
    wait_until(lambda: users(dcss) == wanted, lambda: users(dcss))
    assert counts_of_cp(dcss) == {key: len(names) for key, names in wanted.items()}


@pytest.mark.parametrize("killed", [1, 5, GUESTS])
def test_the_killed_are_no_users(dcss: Dcss, killed: int) -> None:
    guests = start(dcss)
    wait_for(dcss, {"0001 LIB A": sorted(guests), "0002 WORK A": sorted(guests)})
    kill(*(guests[name] for name in sorted(guests)[:killed]))
    left = sorted(guests)[killed:]
    wait_for(dcss, {"0001 LIB A": left, "0002 WORK A": left})
    dcss("down")
    dcss.assert_nothing_left()


def test_a_version_goes_when_its_last_user_is_killed(dcss: Dcss) -> None:
    guests = start(dcss)
    dcss("segment", "define", "LIB", "20000-201FF SR", "--system", dcss.system)
    dcss("segment", "save", "LIB", "--image", dcss.home / "tree", "--system", dcss.system)
    first, *others = sorted(guests)
    wait_for(dcss, {"0001 LIB P": sorted(guests), "0002 WORK A": sorted(guests), "0003 LIB A": []})
    kill(*(guests[name] for name in others))
    wait_for(dcss, {"0001 LIB P": [first], "0002 WORK A": [first], "0003 LIB A": []})
    old = Path("/dev/shm") / f"dcss.{dcss.system}.LIB.1"
    assert old.exists()
    kill(guests[first])
    wait_for(dcss, {"0002 WORK A": [], "0003 LIB A": []})
    wait_until(lambda: not old.exists())
