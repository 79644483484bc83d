"""`dcss config`: what it shows is what `dcss run` makes, and what it refuses names file, line and field."""

from cli_support import GUEST, Dcss

_SEGMENTS = (
    '  - {name: LIB, at: 0x20000000, image: {files: ["tree/**"], exclude: ["tree/**/*.txt"]}}\n'
    "  - {name: WORK, at: 0x30000000, type: SN, size: 1M}"
)


def _guests(dcss: Dcss, pattern: str = "*") -> tuple[str, str]:
    tree = f"{dcss.home}/tree"
    return (
        "name: USER, count: 2, dcssblk: [LIB], mounts: [{device: dcssblk0, at: /mnt, options: [ro, xip]}],"
        f' run: [{{map: "/mnt{tree}/**/{pattern}"}}]',
        "name: BASE, dcssblk: [LIB], expect: copies, mounts: [{device: dcssblk0, at: /mnt}],"
        f' run: [{{read: "/mnt{tree}/**/*"}}, {{exec: ls}}]',
    )


def test_what_is_shown_is_what_run_makes(dcss: Dcss) -> None:
    (dcss.home / "tree/left.txt").write_text("left out")
    path = dcss.config(*_guests(dcss), segment=_SEGMENTS)
    shown = dcss.json("config", path)
    lib, work = shown["segments"]
    assert lib["in_place"] == ["USER01", "USER02"]
    assert lib["copied"] == ["BASE"]
    assert (work["content"], work["bytes"], work["files"]) == ("zeros", 1 << 20, None)
    users, base = shown["guests"]
    (mapped,), (read, listed) = users["steps"], base["steps"]
    assert (mapped["files"], mapped["bytes"]) == (read["files"], read["bytes"]) == (lib["files"], lib["file_bytes"])
    assert listed["files"] is None
    assert shown["warnings"] == [f"{path}:4: segment WORK is loaded by no guest"]
    assert dcss.json("ps")["systems"] == []

    ran = dcss.json("run", path)
    assert len(ran["verify"]["files"]) == mapped["files"]
    assert {each["name"]: each["bytes"] for each in ran["measure"]["segments"]} == {
        "LIB": lib["bytes"],
        "WORK": work["bytes"],
    }


def test_what_a_guest_mounts_itself_and_what_it_runs_is_not_known(dcss: Dcss) -> None:
    path = dcss.config(f"name: G, {GUEST}, run: [{{map: '/tmp/**'}}, {{map: '/usr/**'}}, {{exec: 'ls /'}}]")
    (guests,) = dcss.json("config", path)["guests"]
    assert [step["files"] for step in guests["steps"]] == [None, 20, None]


def test_a_step_that_would_fail_its_guest_is_a_warning(dcss: Dcss) -> None:
    path = dcss.config(*_guests(dcss, "*.dll"), segment=_SEGMENTS)
    done = dcss("config", path)
    step = f"map /mnt{dcss.home}/tree/**/*.dll"
    assert f"{path}:6: USER01: {step}: matches no file there: the guest would fail" in " ".join(done.stdout.split())


def test_everything_that_is_wrong_comes_at_once(dcss: Dcss) -> None:
    segments = (
        '  - {name: LIB, at: 0x20000000, image: {files: ["no/*", "tree"]}}\n'
        "  - {name: WORK, at: 0x30000000, size: 4K, image: {directory: tree}}\n"
        "  - {name: SAVED}"
    )
    path = dcss.config("name: G, dcssblk: [LIB]", segment=segments)
    done = dcss("config", path, status=2)
    assert done.stdout == ""
    assert [line.partition(": segment ")[0] for line in done.stderr.splitlines()] == [
        f"{path}:3: segments[0].image.files[0]",
        f"{path}:3: segments[0].image.files[1]",
        f"{path}:4: segments[1].size",
        f"{path}:5",
    ]
    assert done.stderr.splitlines()[1].endswith(f"for all that lies in it, write {dcss.home}/tree/**")
