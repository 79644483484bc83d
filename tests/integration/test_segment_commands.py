"""`dcss segment` and `dcss cp` against a system that runs: its CP does the work, and its guests stay whole."""

import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE

from cli_support import GUEST, MAP, SOURCE, Dcss, make_libraries
from wait_support import kill, wait_until

from dcss.rpc.address import socket_path
from dcss.rpc.protocol import Arguments, ControlRequest

SAVED = '  - {name: LIB, define: ["20000-201FF SR"], image: {directory: tree}, save: true}'
FROM_SPOOL = "  - {name: LIB}"
SHARERS = f"name: G, count: 2, {GUEST}, {MAP}"


def new_tree(dcss: Dcss) -> Path:
    """The same files, but for the first."""
    make_libraries(dcss.home / "tree2")
    (dcss.home / "tree2/usr/lib/lib00.so").write_bytes(b"the second version".ljust(4096, b"\1") * 15)
    return dcss.home / "tree2"


def segment(dcss: Dcss, *arguments: str | Path, status: int = 0) -> list[str]:
    done = dcss("segment", *arguments, "--system", dcss.system, status=status)
    return done.stdout.splitlines()


def users(dcss: Dcss) -> dict[int, tuple[str, list[str]]]:
    """Class and users of each version."""
    document = dcss.json("segment", "query", "--users", "--system", dcss.system)
    return {row["file"]: (row["class"], row["users"]) for row in document["segments"]}


def libraries(dcss: Dcss, guest: str) -> str:
    return str(dcss("exec", guest, "--", "sha256sum", "/usr/lib/lib00.so", "/usr/lib/lib19.so").stdout)


def test_what_a_system_saved_is_there_for_the_next(dcss: Dcss) -> None:
    first = dcss.json("run", dcss.config(SHARERS, segment=SAVED))
    assert first["verify"]["verdict"] == "verified"
    again = dcss.json("run", dcss.config(SHARERS, segment=FROM_SPOOL))
    assert again["verify"]["verdict"] == "verified"
    assert [file["path"] for file in again["verify"]["files"]] == [file["path"] for file in first["verify"]["files"]]
    assert len(again["verify"]["files"]) == 20
    elsewhere = dcss("run", dcss.config(SHARERS, segment='  - {name: LIB, define: ["20000-202FF SR"]}'), status=2)
    assert elsewhere.stderr == (
        f"{dcss.home}/system.yaml:3: segment LIB: found 20000-202FF SR, wanted 20000-201FF SR, as it is saved; leave"
        " that out, or save it anew\n"
    )
    hidden = dcss("run", dcss.config(SHARERS), status=3)
    assert "the spool holds it as file 0001; leave its image out to use that" in hidden.stderr
    segment(dcss, "purge", "LIB")
    missing = dcss("run", dcss.config(SHARERS, segment=FROM_SPOOL), status=2)
    assert missing.stderr.startswith(
        f"{dcss.home}/system.yaml:3: segment LIB: found no image:, and no saved segment LIB in the spool of system"
        f" {dcss.system};"
    )
    dcss.assert_nothing_left()


def test_storage_that_reaches_into_a_saved_segment_is_told_before_anything_starts(dcss: Dcss) -> None:
    segment(dcss, "define", "LIB", "2000-20FF SR")
    segment(dcss, "save", "LIB")
    done = dcss("run", dcss.config("name: G", segment=FROM_SPOOL), status=2)
    assert done.stderr == (
        f"{dcss.home}/system.yaml:5: guest G: found storage up to 0x4000000, wanted at most 0x2000000, where segment"
        " LIB begins\n"
    )
    dcss.assert_nothing_left()


def test_pages_of_zeros_need_neither_image_nor_spool(dcss: Dcss) -> None:
    config = dcss.config("name: G, expect: nothing", segment='  - {name: WORK, define: ["20000-200FF SN"]}')
    dcss("up", config, "-d")
    assert segment(dcss, "query", "--users")[1:] == ["0001 WORK     DCSS     A  00001", "     G"]
    dcss("down", dcss.system)
    assert segment(dcss, "query") == ["NO NSS FILES"]


def test_the_example_of_the_page_about_updating_goes_through_its_steps(dcss: Dcss) -> None:
    """docs/updating.md as it stands, but for a name of its own."""
    dcss("init", "updating", "--as", dcss.system)
    dcss("up", f"{dcss.system}.yaml", "-d")
    page = (Path(SOURCE) / "docs/updating.md").read_text()
    shell = [line.strip() for line in page.splitlines() if line.startswith("    ")]
    for line in shell[shell.index("mkdir new-tree") :][:2]:
        subprocess.run(["sh", "-c", line], cwd=dcss.home, check=True)
    commands = [line.removeprefix("$ dcss ") for line in shell if line.startswith("$ dcss ")]
    assert [command.split()[1] for command in commands] == ["define", "save", "query", "restart"]
    for command in commands:
        dcss(*shlex.split(command.replace("--system updating", f"--system {dcss.system}")))
    assert users(dcss) == {1: ("P", ["G02"]), 2: ("A", ["G01"])}
    assert dcss.json("verify")["verdict"] == "verified"
    dcss("down")


def test_a_segment_is_replaced_under_its_guests(dcss: Dcss) -> None:
    """docs/updating.md, step by step: nobody loses a byte, the claims hold at each step, and the old version goes."""
    dcss("up", dcss.config(SHARERS, segment=SAVED), "-d")
    before = libraries(dcss, "G01")
    assert segment(dcss, "define", "LIB", "20000-201FF SR") == [
        "HCPNSD440I Saved segment LIB was successfully defined in fileid 0002."
    ]
    assert segment(dcss, "save", "LIB", "--image", new_tree(dcss)) == [
        "HCPNSS440I Saved segment LIB was successfully saved in fileid 0002."
    ]
    assert users(dcss) == {1: ("P", ["G01", "G02"]), 2: ("A", [])}
    assert dcss.json("verify")["verdict"] == "verified"
    assert libraries(dcss, "G01") == libraries(dcss, "G02") == before

    dcss("guest", "restart", "G01")
    assert users(dcss) == {1: ("P", ["G02"]), 2: ("A", ["G01"])}
    assert [guest["segments"] for guest in dcss.ps()["guests"]] == [["LIB"], ["LIB.0001"]]
    assert {each["name"]: each["guests"] for each in dcss.ps()["segments"]} == {"LIB": 1, "LIB.0001": 1}
    after = libraries(dcss, "G01")
    assert after.splitlines()[0] != before.splitlines()[0]
    assert after.splitlines()[1] == before.splitlines()[1]
    assert libraries(dcss, "G02") == before
    verdict = dcss.json("verify")
    assert verdict["verdict"] == "verified"
    assert {(file["segment"], *file["guests"]) for file in verdict["files"]} == {("LIB", "G01"), ("LIB.0001", "G02")}
    account = dcss.json("measure")
    assert {each["name"]: each["guests"] for each in account["segments"]} == {"LIB": 1, "LIB.0001": 1}

    dcss("guest", "restart", "G02")
    assert users(dcss) == {2: ("A", ["G01", "G02"])}
    assert libraries(dcss, "G02") == after
    assert len(dcss.segment_objects()) == 1
    assert dcss.json("verify")["verdict"] == "verified"
    dcss("down", dcss.system)
    assert [row.split()[0] for row in segment(dcss, "query")[1:]] == ["0002"]


def test_import_load_export_and_refusals_at_a_running_cp(dcss: Dcss) -> None:
    dcss("up", dcss.config(SHARERS, segment=SAVED), "-d")
    image = dcss.home / "lib.img"
    assert segment(dcss, "export", "LIB", "lib.img") == ["LIB: file 0001, 2.0 MiB, written to lib.img"]
    assert segment(dcss, "import", "lib.img", "--name", "COPY", "--at", "1G") == [
        "HCPNSS440I Saved segment COPY was successfully saved in fileid 0002."
    ]
    assert len(dcss.segment_objects()) == 1
    assert segment(dcss, "load", "COPY") == ["COPY: file 0002, 2.0 MiB, content as saved"]
    assert len(dcss.segment_objects()) == 2
    assert segment(dcss, "save", "NOSUCH", status=1)[0].startswith("HCPDCS9002E")
    assert segment(dcss, "load", "NOSUCH", status=1)[0].startswith("HCPDCS9003E")
    with image.open("r+b") as file:
        file.write(b"x")
    refused = dcss("segment", "import", image, "--system", dcss.system, status=3)
    assert f"dcss: {image}: could not be imported: segment LIB: found content of digest" in refused.stderr
    full = dcss("segment", "export", "LIB", "/proc/x", "--system", dcss.system, status=3)
    assert "could not be exported to /proc/x" in full.stderr
    assert users(dcss) == {1: ("A", ["G01", "G02"]), 2: ("A", [])}
    assert dcss.json("verify")["verdict"] == "verified"


def test_guests_see_at_once_what_cp_writes(dcss: Dcss) -> None:
    """FACTS 1.1, SC: read only to guests, CP writes; docs/cp.md, "What CP writes"."""
    dcss(
        "up",
        dcss.config(SHARERS, segment='  - {name: LIB, define: ["20000-201FF SC"], image: {directory: tree}}'),
        "-d",
    )
    (object_,) = dcss.segment_objects()
    library = (dcss.home / "tree/usr/lib/lib00.so").read_bytes()
    address = 0x20000000 + Path("/dev/shm", object_).read_bytes().index(library)
    words = ("exec", "G02", "--", "head", "-c", "7", "/usr/lib/lib00.so")
    assert dcss(*words).stdout.encode() == library[:7]
    store = f"STORE NSS LIB {address:X} {b'written'.hex()}"
    assert dcss("cp", store, "--system", dcss.system).stdout == "STORE COMPLETE\n"
    assert dcss(*words).stdout == "written"
    assert segment(dcss, "load", "LIB")[0].endswith(", CP has written into its content (STORE NSS)")
    verdict = dcss.json("verify")  # it is the same frame still, and the digest that CP left
    assert verdict["verdict"] == "verified"
    assert "digest is as published" in next(
        claim["detail"] for claim in verdict["claims"] if claim["claim"] == "protection-holds"
    )
    assert dcss("cp", store.replace(f"{address:X}", "30000000"), "--system", dcss.system, status=1).stdout.startswith(
        "HCPDCS9008E Storage 30000000-30000006 is not in pages of type SC of saved segment LIB"
    )


def test_what_cp_writes_begins_as_zeros_without_an_image(dcss: Dcss) -> None:
    """FACTS 1.1, SC: data saved: no. What an operator defines and saves to replace it takes its place."""
    config = dcss.config("name: G, expect: nothing", segment='  - {name: MON, define: ["20000-200FF SC"]}')
    dcss("up", config, "-d")
    (object_,) = dcss.segment_objects()
    assert not any(Path("/dev/shm", object_).read_bytes())
    assert users(dcss) == {1: ("A", ["G"])}
    segment(dcss, "define", "MON", "20000-200FF SC")
    assert segment(dcss, "save", "MON") == ["HCPNSS440I Saved segment MON was successfully saved in fileid 0002."]
    assert users(dcss) == {1: ("P", ["G"]), 2: ("A", [])}
    dcss("down", dcss.system)
    mixed = dcss.config("name: G", segment='  - {name: MIX, define: ["20000-200FF SC", "20100-201FF SR"]}')
    assert "segment MIX: found no image:" in dcss("run", mixed, status=2).stderr


def test_a_guest_that_is_killed_uses_nothing(dcss: Dcss) -> None:
    dcss("up", dcss.config(SHARERS, segment=SAVED), "-d")
    kill(dcss.pid_of("G02"))
    dcss.wait_for("G02", "killed")
    assert users(dcss) == {1: ("A", ["G01"])}


def test_a_restricted_segment_needs_its_name_in_namesave(dcss: Dcss) -> None:
    segment(dcss, "define", "LIB", "20000-201FF SR", "--rstd")
    segment(dcss, "save", "LIB", "--image", dcss.home / "tree")
    config = dcss.config(f"name: MAY, namesave: [LIB], {GUEST}, {MAP}", f"name: NOT, {GUEST}", segment=FROM_SPOOL)
    dcss("up", config, "-d", status=3)
    assert dcss.states() == {"MAY": "ready", "NOT": "failed"}
    assert users(dcss) == {1: ("R", ["MAY"])}
    assert "resulted in a hardware error" in dcss("logs", "NOT").stdout


def test_a_damaged_segment_is_set_aside_and_told(dcss: Dcss) -> None:
    dcss("run", dcss.config(SHARERS, segment=SAVED))
    spool = dcss.home / "state/dcss" / dcss.system
    with (spool / "0001.content").open("r+b") as content:
        content.write(b"x")
    failed = dcss("run", dcss.config(SHARERS, segment=FROM_SPOOL), status=3)
    assert "warning: spool file 0001 is damaged: its content has digest" in failed.stderr
    assert "segment LIB: its content has digest" in failed.stderr
    assert sorted(path.name for path in (spool / "damaged").iterdir()) == ["0001.content.1", "0001.manifest.1"]
    assert dcss("run", dcss.config(SHARERS, segment=FROM_SPOOL), status=2).stderr.startswith(f"{dcss.home}/system.yaml")
    dcss.assert_nothing_left()


def test_a_killed_cp_is_no_hindrance(dcss: Dcss) -> None:
    dcss("up", dcss.config(SHARERS, segment=SAVED), "-d")
    kill(dcss.ps()["pid"])
    assert users(dcss) == {1: ("A", [])}
    assert segment(dcss, "load", "LIB") == ["LIB: file 0001, 2.0 MiB, content as saved"]
    dcss.assert_nothing_left()


def test_commands_at_the_same_time_wait_for_each_other(dcss: Dcss) -> None:
    started = [
        dcss.start("segment", "define", f"LIB{number}", "20000-200FF SR", "--system", dcss.system, stdout=PIPE)
        for number in range(4)
    ]
    answers = sorted(process.communicate(timeout=300)[0].split("fileid ")[1] for process in started)
    assert answers == [f"{number:04d}.\n" for number in range(1, 5)]
    assert len(segment(dcss, "query")) == 5


@contextmanager
def asking(dcss: Dcss, name: str, arguments: Arguments) -> Iterator[None]:
    """Ask CP for something, and go away without having waited for the answer."""
    with socket.socket(socket.AF_UNIX) as client:
        with socket_path(dcss.directory) as path:
            client.connect(path)
        client.sendall(ControlRequest(name, arguments).pack())
        yield


def test_a_running_cp_serves_guests_and_others_while_it_saves(dcss: Dcss) -> None:
    """FACTS 1.1: a second DEFSEG waits; nobody else does. Imports that take long are undone when their clients go."""
    dcss("up", dcss.config(SHARERS, "name: G, expect: nothing", segment=SAVED), "-d")
    image = dcss.home / "image"
    with image.open("wb") as file:
        file.truncate(1 << 30)
    spool = dcss.home / "state/dcss" / dcss.system
    with ExitStack() as stack:
        for number in range(20):  # one after the other: the last are far away, however slow the commands are
            request = {"action": "import", "image": str(image), "define": f"NEW{number} 40000-7FFFF SR", "digest": None}
            stack.enter_context(asking(dcss, "segment", request))
        wait_until(lambda: any(spool.glob("*.content.new")))
        defining = dcss.start("segment", "define", "TWO", "80000-800FF SR", "--system", dcss.system, stdout=PIPE)
        assert users(dcss)[1] == ("A", ["G", "G01", "G02"])
        dcss("exec", "G", "--", "sh", "-c", "cd /sys/devices/dcssblk && echo LIB > remove && echo LIB > add")
        assert users(dcss)[1] == ("A", ["G", "G01", "G02"])
        assert dcss.json("verify")["verdict"] == "verified"
        assert defining.poll() is None
    assert "was successfully defined in fileid" in defining.communicate(timeout=300)[0]
    found = {row.split()[1] for row in segment(dcss, "query")[1:]}
    assert found >= {"LIB", "TWO"}
    assert "NEW19" not in found
    assert not list(spool.glob("*.content.new"))


def test_a_save_under_way_does_not_keep_a_system_from_going_down(dcss: Dcss) -> None:
    config = dcss.config("name: G, expect: nothing", segment=SAVED)
    big = dcss.home / "big"
    big.write_bytes(b"")
    os.truncate(big, 2047 << 20)
    spool = dcss.home / "state/dcss" / dcss.system
    errors = ""
    for _ in range(5):  # the processor may be away from this process for longer than the import takes
        dcss("up", config, "-d")
        command = ("segment", "import", big, "--name", "NEW", "--at", "4G", "--system", dcss.system)
        saving = dcss.start(*command, stdout=PIPE, stderr=PIPE)
        while saving.poll() is None and not any(spool.glob("*.content.new")):
            time.sleep(0.005)
        with asking(dcss, "down", {}):
            output, errors = saving.communicate(timeout=300)
        wait_until(lambda: not dcss.processes())
        if "was successfully saved" not in output:
            break
        segment(dcss, "purge", "NEW")
    assert "ended before it answered" in errors
    assert [row.split()[1] for row in segment(dcss, "query")[1:]] == ["LIB"]
    assert len(list(spool.glob("*.content*"))) == 1
    dcss.assert_nothing_left()


def test_a_guest_moves_to_the_new_version_from_inside(dcss: Dcss) -> None:
    """docs/updating.md, step 4 without a restart: unmount, remove, add, mount."""
    mounted = "name: G, mounts: [{device: dcssblk0, at: /mnt, options: [ro, xip]}], expect: nothing"
    dcss("up", dcss.config(mounted, segment=SAVED), "-d")
    segment(dcss, "define", "LIB", "20000-202FF SR")
    segment(dcss, "save", "LIB", "--image", new_tree(dcss))
    first = "/mnt/usr/lib/lib00.so"
    assert dcss("exec", "G", "--", "head", "-c", "10", first).stdout != "the second"
    steps = "umount /mnt && cd /sys/devices/dcssblk && echo LIB > remove && echo LIB > add"
    dcss("exec", "G", "--", "sh", "-c", f"{steps} && mount -t ext2 -o ro,xip /dev/dcssblk0 /mnt")
    assert dcss("exec", "G", "--", "head", "-c", "10", first).stdout == "the second"
    assert users(dcss) == {2: ("A", ["G"])}


def test_a_guest_saves_its_exclusive_copy(dcss: Dcss) -> None:
    """docs/updating.md, from a guest: privilege class E, exclusive access, save when the device is idle."""
    others = ("name: MAINT, privilege: EG, expect: nothing", "name: PLAIN, expect: nothing")
    dcss("up", dcss.config(SHARERS, *others, segment=SAVED), "-d")
    attributes = "/sys/devices/dcssblk/LIB"
    before = "echo 0 > shared && mount -t ext2 -o ro /dev/dcssblk0 /mnt && echo 1 > save && cat shared save"
    assert dcss("exec", "MAINT", "--", "sh", "-c", f"cd {attributes} && {before}").stdout == "0\n1\n"
    assert list(users(dcss)) == [1]
    dcss("exec", "MAINT", "--", "umount", "/mnt")
    assert users(dcss) == {1: ("P", ["G01", "G02", "MAINT", "PLAIN"]), 2: ("A", [])}
    dcss("exec", "MAINT", "--", "sh", "-c", "echo LIB > /sys/devices/dcssblk/remove")
    assert users(dcss) == {1: ("P", ["G01", "G02", "PLAIN"]), 2: ("A", [])}
    assert dcss.json("verify")["verdict"] == "verified"
    _, new = dcss.json("segment", "query", "--system", dcss.system)["segments"]
    assert (new["originid"], new["ranges"]) == (
        "MAINT",
        [{"first_page": 0x20000, "last_page": 0x201FF, "type": "SR"}],
    )
    image = (dcss.home / "state/dcss" / dcss.system / "0002.content").read_bytes()
    old = Path(f"/dev/shm/{next(name for name in dcss.objects() if name.endswith('.1'))}").read_bytes()
    assert image == old
    log = dcss("exec", "PLAIN", "--", "sh", "-c", "echo 1 > /sys/devices/dcssblk/LIB/save; dmesg").stdout
    assert log.endswith("extmem: Saving a DCSS failed with DEFSEG response code 1\n")
