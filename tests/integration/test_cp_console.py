"""The CP console in a terminal: prompt, history, completion, Ctrl-C, and its ends."""

from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pytest
from cli_support import Dcss
from wait_support import wait_at_rest

PROMPT = "CP> "


def spawn(dcss: Dcss, *arguments: str) -> "pexpect.spawn[str]":
    """Start a command at a terminal."""
    words = dcss.command(*arguments, "--system", dcss.system)
    return pexpect.spawn(
        words[0],
        words[1:],
        cwd=str(dcss.home),
        env={**dcss.environment, "TERM": "dumb"},
        encoding="utf-8",
        timeout=300,
        preexec_fn=dcss.become,
    )


@contextmanager
def console(dcss: Dcss) -> Iterator["pexpect.spawn[str]"]:
    child = spawn(dcss, "cp")
    try:
        child.expect_exact(PROMPT)
        yield child
    finally:
        child.close(force=True)


def say(child: "pexpect.spawn[str]", line: str) -> str:
    """Type a line and return what comes before the next prompt."""
    child.sendline(line)
    child.expect_exact(PROMPT)
    return str(child.before)


def test_commands_refusals_and_help(dcss: Dcss) -> None:
    with console(dcss) as child:
        assert "successfully defined in fileid 0001." in say(child, "defseg lib 20000-2000f sr")
        assert "0001 LIB      DCSS     N/A     20000  2000F  SR   S   00000" in say(child, "q nss map")
        assert "HCPCMD001E Unknown CP command: NONSENSE" in say(child, "nonsense")
        assert "QUERY may be as short as Q" in say(child, "help")
        assert "SAVESEG name" in say(child, "?")
        child.sendline("quit")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
    assert dcss("segment", "query", "--system", dcss.system).stdout.splitlines()[1].startswith("0001 LIB ")


def test_no_lock_is_held_while_it_waits(dcss: Dcss) -> None:
    """Another command, and a system that comes up and goes down, find their way while the prompt stands."""
    with console(dcss) as child:
        say(child, "defseg lib 20000-2000f sr")
        dcss("segment", "save", "LIB", "--system", dcss.system)
        dcss("up", dcss.config("name: G, expect: nothing", segment="  - {name: LIB}"), "-d")
        assert "0001 LIB      DCSS     A  00001" in say(child, "q nss users")
        assert "PENDING PURGE" in say(child, "purge nss all")
        assert [(each["name"], each["class"]) for each in dcss.ps()["segments"]] == [("LIB.0001", "P")]
        dcss("down", dcss.system)
        assert "NO NSS FILES" in say(child, "q nss")


@pytest.mark.parametrize("end", ["logoff", None])
def test_it_ends_and_remembers_its_lines(dcss: Dcss, end: str | None) -> None:
    with console(dcss) as child:
        say(child, "query nss name remember")
        child.sendline(end) if end else child.sendeof()
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
    with console(dcss) as child:
        for _ in range(2 if end else 1):
            child.send("\x10")  # Ctrl-P: the line before
        child.send("\r")
        child.expect_exact("HCPDCS9003E System data file REMEMBER does not exist")
    history = dcss.home / "state/dcss/.cp_history"
    assert "query nss name remember" in history.read_text()
    assert history.parent.stat().st_mode & 0o077 == 0


def test_ctrl_c_drops_the_line_as_often_as_it_comes(dcss: Dcss) -> None:
    with console(dcss) as child:
        for _ in range(3):
            child.send("purge nss all")
            child.expect_exact("purge nss all")
            assert child.pid is not None
            wait_at_rest(child.pid)  # readline is in select() again: only there CPython sees a signal
            child.sendintr()
            child.expect_exact(PROMPT)
        assert "NO NSS FILES" in say(child, "q nss")


def test_tab_completes(dcss: Dcss) -> None:
    with console(dcss) as child:
        child.send("savs")
        child.send("\x15def\t")  # Ctrl-U; def<Tab>
        child.expect_exact("DEFSEG ")
        child.sendline("")
        child.expect_exact("HCPCMD026E")


def test_abbreviations_complete_to_what_cp_takes(dcss: Dcss) -> None:
    """Where USERS and USERID part, Tab stops at USER, which QUERY NSS takes."""
    with console(dcss) as child:
        say(child, "defseg lib 20000-2000f sr")
        child.send("q ns\tus\t")
        child.expect_exact("USER")
        assert "FILE FILENAME FILETYPE CL USERS" in say(child, "")


def test_segment_commands_show_progress_at_a_terminal_and_none_in_a_pipe(dcss: Dcss) -> None:
    def done(*arguments: str) -> str:
        child = spawn(dcss, "segment", *arguments)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
        return str(child.before)

    assert "successfully defined" in done("define", "LIB", "20000-201FF SR")
    assert "save LIB" in done("save", "LIB", "--image", "tree")
    assert "load LIB" in done("load", "LIB")
    assert "export LIB" in done("export", "LIB", "lib.img")
    assert "import LIB2" in done("import", "lib.img", "--name", "LIB2", "--at", "1G")
    for arguments in (("load", "LIB"), ("export", "LIB", "lib.img"), ("import", "lib.img")):
        assert dcss("segment", *arguments, "--system", dcss.system).stderr == ""


def test_who_names_no_system_is_told_of_one_that_runs(dcss: Dcss) -> None:
    dcss("up", dcss.guests(1), "-d")
    done = dcss("cp", "query nss")
    assert done.stdout == "NO NSS FILES\n"
    assert done.stderr == (
        f"note: this is the spool of system default, which does not run; one that does: --system {dcss.system}\n"
    )
    assert dcss("cp", "query nss", "--system", dcss.system).stderr == ""
    dcss("down")
    assert dcss("cp", "query nss").stderr == ""
