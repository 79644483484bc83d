"""A correct file becomes a plan."""

from pathlib import Path

import pytest

from dcss.abi.extmem import SegmentType
from dcss.config.document import presumed_engines, read_document
from dcss.config.load import load_plan
from dcss.config.plan import GuestPlan, MountPlan, ProcessSettings, S390xSettings, SegmentPlan, Step, SystemPlan
from dcss.config.sources import DirectorySource, Ext2Source, FilesSource, TarSource
from dcss.errors import ConfigError

CONFIGS = Path(__file__).parents[4] / "configs"


def load(tmp_path: Path, text: str, name: str = "demo.yaml") -> SystemPlan:
    path = tmp_path / name
    path.write_text(text)
    return load_plan(path)


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        "segments: [{name: LIB, at: 0x20000000, image: {files: [/usr/lib/libc.so.6]}}]\nguests: [{name: A}]\n",
    )
    where = f"{tmp_path / 'demo.yaml'}"
    assert plan == SystemPlan(
        name="demo",
        segments=(
            SegmentPlan(
                name="LIB",
                definition=None,
                start_address=0x20000000,
                type=SegmentType.SR,
                size_bytes=None,
                image=FilesSource(("/usr/lib/libc.so.6",)),
                save=False,
                where=f"{where}:1",
            ),
        ),
        guests=(GuestPlan("A", ProcessSettings(), 64 << 20, ("LIB",), (), "shared", (), f"{where}:2"),),
        path=tmp_path / "demo.yaml",
    )


def test_everything_given_is_in_the_plan(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        """\
system: big-one
segments:
  - name: A
    define: ["20000-200FF EW", "20100-201FF EN"]
    image: {files: [/a], at_least: {files: 5, size: 16M}, up_to: 1G}
  - {name: B, at: 1G, type: SW, size: 2M, image: {files: ["/b/**/*.so"]}}
  - {name: C, at: 2G, size: auto, image: {files: [/c]}}
guests:
  - name: Z
    count: 12
    engine: s390x
    time_limit: 60
    storage: 128M
    dcssblk: ["A(local)", "B:C"]
    mounts:
      - {device: dcssblk1, at: /, options: [ro, xip]}
      - {device: dcssblk0, at: /mnt}
      - {type: tmpfs, at: /mnt/tmp, options: [size=1M, noexec]}
    expect: copies
    run:
      - map: /usr/**/*.so*
      - read: /etc/hosts
      - exec: [/bin/busybox, uname, -m]
      - {exec: [/bin/sleep, "9"], background: true, environment: {LANG: C, A: "b=c"}, strace: true}
""",
    )
    first, second, third = plan.segments
    assert plan.name == "big-one"
    assert first.definition is not None
    assert [str(each) for each in first.definition.ranges] == ["20000-200FF EW", "20100-201FF EN"]
    assert (first.start_address, first.size_bytes) == (0x20000000, 2 << 20)
    assert first.image == FilesSource(("/a",), min_files=5, min_bytes=16 << 20, max_bytes=1 << 30)
    assert (second.start_address, second.type, second.size_bytes) == (1 << 30, SegmentType.SW, 2 << 20)
    assert third.size_bytes is None
    assert [guest.name for guest in plan.guests] == [f"Z{number:02d}" for number in range(1, 13)]
    guest = plan.guests[-1]
    assert guest == GuestPlan(
        name="Z12",
        settings=S390xSettings("clone", 60.0),
        storage_bytes=128 << 20,
        dcssblk=("A(local)", "B:C"),
        mounts=(
            MountPlan("dcssblk1", "/", ("ro", "xip")),
            MountPlan("dcssblk0", "/mnt", ()),
            MountPlan("tmpfs", "/mnt/tmp", ("size=1M", "noexec"), type="tmpfs"),
        ),
        expect="copies",
        run=(
            Step("map", "/usr/**/*.so*"),
            Step("read", "/etc/hosts"),
            Step("exec", ("/bin/busybox", "uname", "-m")),
            Step("exec", ("/bin/sleep", "9"), True, (("LANG", "C"), ("A", "b=c")), strace=True),
        ),
        where=f"{tmp_path / 'demo.yaml'}:9",
    )


@pytest.mark.parametrize(
    ("count", "first", "last"),
    [(None, "A", "A"), (1, "A01", "A01"), (9, "A01", "A09"), (99, "A01", "A99"), (100, "A001", "A100")],
)
def test_numbers_are_as_wide_as_the_count_and_at_least_two(
    tmp_path: Path, count: int | None, first: str, last: str
) -> None:
    counted = "" if count is None else f", count: {count}"
    plan = load(tmp_path, f"segments: [{{name: L, at: 1G, image: {{files: [/x]}}}}]\nguests: [{{name: A{counted}}}]\n")
    assert (plan.guests[0].name, plan.guests[-1].name, len(plan.guests)) == (first, last, count or 1)


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a[1]"  # the directory's own name must not act as a pattern
    (place / "tree").mkdir(parents=True)
    (place / "x.tar").touch()
    (place / "x.img").touch()
    (place / "demo.yaml").write_text(
        "segments:\n"
        "  - {name: A, at: 1G, image: {files: [../lib/*.so, /abs]}}\n"
        "  - {name: B, at: 2G, image: {directory: tree}}\n"
        "  - {name: C, at: 3G, image: {tar: ./x.tar}}\n"
        "  - {name: D, at: 4G, image: {ext2: x.img}}\n"
    )
    monkeypatch.chdir(tmp_path)
    plan = load_plan(Path("a[1]/demo.yaml"))
    assert [segment.image for segment in plan.segments] == [
        FilesSource((f"{tmp_path}/lib/*.so", "/abs")),
        DirectorySource(place / "tree"),
        TarSource(place / "x.tar"),
        Ext2Source(place / "x.img"),
    ]
    assert plan.path == place / "demo.yaml"
    assert plan.segments[0].where == "a[1]/demo.yaml:2"


def test_a_pattern_beside_a_file_in_a_directory_with_brackets_is_escaped(tmp_path: Path) -> None:
    place = tmp_path / "a[1]"
    place.mkdir()
    plan = load(place, "segments: [{name: A, at: 1G, image: {files: ['*.so']}}]\n")
    assert plan.segments[0].image == FilesSource((f"{tmp_path}/a[[]1]/*.so",))


def test_a_link_to_a_file_means_where_the_link_is(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "there/demo.yaml").write_text("segments: [{name: A, at: 1G, image: {files: [x]}}]\n")
    (tmp_path / "here/demo.yaml").symlink_to(tmp_path / "there/demo.yaml")
    assert load_plan(tmp_path / "here/demo.yaml").segments[0].image == FilesSource((f"{tmp_path}/here/x",))


def test_a_segment_that_no_guest_loads_is_a_warning(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        "segments:\n"
        "  - {name: A, at: 1G, image: {files: [/x]}}\n"
        "  - {name: B, at: 2G, image: {files: [/x]}}\n"
        "guests: [{name: G, dcssblk: [A]}]\n",
    )
    assert plan.warnings == (f"{tmp_path / 'demo.yaml'}:3: segment B is loaded by no guest",)


def test_segments_that_overlap_are_fine_for_different_guests(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        "segments:\n"
        "  - {name: A, at: 1G, image: {files: [/x]}}\n"
        "  - {name: B, at: 1G, image: {files: [/x]}}\n"
        "guests: [{name: G, dcssblk: [A]}, {name: H, dcssblk: [B]}]\n",
    )
    assert plan.segments[0].start_address == plan.segments[1].start_address


def test_storage_may_reach_up_to_the_segment(tmp_path: Path) -> None:
    plan = load(tmp_path, "segments: [{name: A, at: 1G, image: {files: [/x]}}]\nguests: [{name: G, storage: 1G}]\n")
    assert plan.guests[0].storage_bytes == plan.segments[0].start_address


def test_segments_may_adjoin_at_a_megabyte(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        "segments:\n"
        '  - {name: A, define: ["20000-200FF SR"], image: {files: [/x]}}\n'
        '  - {name: B, define: ["20100-201FF SR"], image: {files: [/x]}}\n'
        'guests: [{name: G, dcssblk: ["A:B"]}]\n',
    )
    assert plan.guests[0].dcssblk == ("A:B",)


def test_yaml_anchors_and_merges_are_welcome(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        "segments: [{name: A, at: 1G, image: {files: [/x]}}]\n"
        "guests:\n"
        "  - &base {name: G, mounts: &m [{device: dcssblk0, at: /}], run: [{map: /x}]}\n"
        "  - {<<: *base, name: H, storage: 128M}\n"
        "  - {name: I, mounts: *m}\n",
    )
    assert [guest.storage_bytes >> 20 for guest in plan.guests] == [64, 128, 64]
    assert plan.guests[0].mounts == plan.guests[1].mounts == plan.guests[2].mounts
    assert plan.guests[0].run == plan.guests[1].run


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_ready_systems_load_and_begin_with_a_comment(path: Path) -> None:
    plan = load_plan(path)
    assert plan.name == path.stem
    assert not plan.warnings
    assert path.read_text().startswith("# ")


def test_the_demo_has_eight_guests_that_share_and_two_baselines() -> None:
    plan = load_plan(CONFIGS / "demo.yaml")
    image = plan.segments[0].image
    assert isinstance(image, FilesSource)
    assert (image.min_files, image.min_bytes, image.max_bytes) == (5, 16 << 20, 100 << 20)
    sharing = [guest for guest in plan.guests if guest.expect == "shared"]
    baselines = [guest for guest in plan.guests if guest.expect == "copies"]
    assert len(sharing) == 8
    assert all("xip" in guest.mounts[0].options for guest in sharing)
    assert len(baselines) == 2
    assert all("xip" not in guest.mounts[0].options for guest in baselines)
    assert {guest.storage_bytes for guest in baselines} == {256 << 20}
    start_address = plan.segments[0].start_address
    assert start_address is not None
    assert start_address >= max(guest.storage_bytes for guest in plan.guests)


def test_nothing_is_read_but_the_file(tmp_path: Path) -> None:
    """load_plan reads no content: the builder reports patterns without a match and damaged images."""
    plan = load(tmp_path, "segments: [{name: A, at: 1G, image: {files: [/no/such/file]}}]\n")
    assert plan.segments[0].image == FilesSource(("/no/such/file",))
    with pytest.raises(ConfigError):
        load(tmp_path, "segments: [{name: A, at: 1G, image: {directory: /no/such}}]\n")


def test_a_line_is_run_by_the_shell_and_a_list_is_words(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        """
segments:
  - {name: A, at: 1G, image: {files: [/a]}}
guests:
  - name: G
    run:
      - exec: "cat /a > '/tmp/a b'"
      - exec: [cat, /a, ">", /tmp/b]
""",
    )
    assert plan.guests[0].run == (
        Step("exec", ("sh", "-c", "cat /a > '/tmp/a b'")),
        Step("exec", ("cat", "/a", ">", "/tmp/b")),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("segments: []\nguests: [{name: A}, {engine: s390x}, 5]", ("demo", {"process", "s390x"})),
        ("system: other\nguests: [{name: A}]", ("other", {"process"})),
        ("system: other", ("", set())),
        ("system: 5\nguests: [{}]", ("", set())),
        ("system: a/b\nguests: [{}]", ("", set())),
        ("guests: {name: A}", ("", set())),
        ("- guests", ("", set())),
        ("", ("", set())),
        ("guests: [{engine: [1]}]", ("demo", {"[1]"})),
    ],
)
def test_what_a_document_would_run_on_is_presumed_before_it_is_checked(
    tmp_path: Path, text: str, expected: tuple[str, set[str]]
) -> None:
    path = tmp_path / "demo.yaml"
    path.write_text(text)
    assert presumed_engines(read_document(path), path) == expected
