"""What advise takes for common, who gets a path, and what it writes."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from needs_support import needs
from plan_support import candidates_in, consumer_of, file_of, write_files

from dcss.abi.page import PAGE_SIZE
from dcss.config.load import load_plan
from dcss.errors import ConfigError, MeasurementDeniedError
from dcss.plan import selection
from dcss.plan.advise import PlacedSegment, Wishes, advise
from dcss.plan.candidates import candidates_of
from dcss.plan.inputs.processes import process_consumers
from dcss.plan.inputs.trees import tree_consumer
from dcss.plan.knapsack import Filling, Item, fill
from dcss.plan.output import write_plan
from dcss.plan.selection import claim_paths
from dcss.plan.tree import chosen_tree
from dcss.progress import SilentProgress


def test_equal_content_is_one_candidate_where_permissions_are_equal_too(tmp_path: Path) -> None:
    first = write_files(tmp_path / "a", {"lib": 4, "tool": 2, "other": 4})
    second = write_files(tmp_path / "b", {"other": 4})
    (second / "renamed").write_bytes((first / "lib").read_bytes())
    (second / "tool").write_bytes((first / "tool").read_bytes())
    (second / "tool").chmod(0o4755)
    found = candidates_of([tree_consumer(first), tree_consumer(second)])
    common = {tuple(map(os.fsdecode, each.paths)) for each in found if len(each.uses) == 2}
    assert common == {("/lib", "/renamed"), ("/other",)}


def test_two_names_of_one_content_count_once_for_a_guest(tmp_path: Path) -> None:
    tree = write_files(tmp_path / "a", {"lib": 4})
    (tree / "copy").write_bytes((tree / "lib").read_bytes())
    (tree / "hard").hardlink_to(tree / "lib")
    (candidate,) = candidates_of([tree_consumer(tree)])
    assert candidate.paths == [b"/copy", b"/hard", b"/lib"]
    assert candidate.saved_bytes([10]) == 9 * 4 * PAGE_SIZE


def test_a_path_goes_to_the_file_that_saves_more() -> None:
    large, small = file_of(10), file_of(3)
    consumers = [
        consumer_of("a", {"/lib": large}),
        consumer_of("b", {"/lib": large}),
        consumer_of("c", {"/lib": small, "/lib/below": file_of(1)}),
        consumer_of("d", {"/lib": small, "/own": small}),
    ]
    notes: list[str] = []
    claimed = claim_paths(candidates_in(consumers), [5, 5, 5, 5], notes)
    assert [(each.node, sorted(each.uses)) for each in claimed] == [(large, [0, 1]), (small, [3])]
    assert claimed[1].paths == [b"/own"]
    assert len(notes) == 1


def test_links_to_what_is_chosen_come_with_it(tmp_path: Path) -> None:
    tree = write_files(tmp_path / "a", {"usr/lib/libone.so.1.2": 4})
    (tree / "lib").symlink_to("usr/lib")
    (tree / "usr/lib/libone.so.1").symlink_to("libone.so.1.2")
    (tree / "usr/lib/libone.so").symlink_to("/lib/libone.so.1")
    (tree / "usr/lib/gone").symlink_to("nowhere")
    (tree / "usr/lib/loop").symlink_to("loop")
    consumers = [tree_consumer(tree)]
    root = chosen_tree(candidates_of(consumers), consumers).root
    assert set(root.entries) == {b"usr", b"lib"}
    library = root.entries[b"usr"].entries[b"lib"]  # type: ignore[attr-defined]
    assert set(library.entries) == {b"libone.so.1.2", b"libone.so.1", b"libone.so"}


def test_a_segment_of_several_parts_is_a_configuration_that_loads(tmp_path: Path) -> None:
    tree = write_files(tmp_path / "a", {"lib": 800})
    plan = advise([tree_consumer(tree)], Wishes(guests=(4,)))
    image_bytes = plan.selection.image.size_bytes
    parts = (PlacedSegment("LIB1", 256 << 20, 2 << 20), PlacedSegment("LIB2", 258 << 20, image_bytes - (2 << 20)))
    write_plan(replace(plan, segments=parts), tmp_path / "parts.yaml", SilentProgress())
    loaded = load_plan(tmp_path / "parts.yaml")
    assert [(each.name, each.start_address, each.continues) for each in loaded.segments] == [
        ("LIB1", 256 << 20, None),
        ("LIB2", 258 << 20, "LIB1"),
    ]
    assert loaded.guests[0].dcssblk == ("LIB1:LIB2",)
    assert len(loaded.guests) == 4


def test_no_file_is_left_where_one_of_two_cannot_be_written(tmp_path: Path) -> None:
    tree = write_files(tmp_path / "a", {"lib": 8})
    plan = advise([tree_consumer(tree)], Wishes(guests=(4,)))
    output = tmp_path / "there.yaml"
    output.mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_plan(plan, output, SilentProgress(), replace=True)
    assert not (tmp_path / "there.img").exists()


def test_one_guest_has_nobody_to_share_with(tmp_path: Path) -> None:
    tree = write_files(tmp_path / "a", {"lib": 8})
    with pytest.raises(ConfigError, match="1 guest would touch"):
        advise([tree_consumer(tree)], Wishes(guests=(1,)))


def test_a_process_that_has_ended_is_none() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(ConfigError, match=str(process.pid)):
        process_consumers([process.pid], [])


@needs("root")
def test_a_process_of_another_user_says_what_it_takes() -> None:
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            process_consumers([os.getppid()], [])
        except MeasurementDeniedError as error:
            os._exit(0 if "CAP_SYS_PTRACE" in str(error) else 2)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_many_small_files_fill_a_budget_in_few_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = write_files(tmp_path / "a", {f"file{number:04}": 1 for number in range(800)})
    tries: list[int] = []

    def counted(items: Sequence[Item], capacity_pages: int) -> Filling:
        tries.append(capacity_pages)
        return fill(items, capacity_pages)

    monkeypatch.setattr(selection, "fill", counted)
    plan = advise([tree_consumer(tree)], Wishes(budget_bytes=600 * PAGE_SIZE, guests=(4,)))
    assert 560 < plan.advice.segment.files < 600
    assert plan.selection.image.size_bytes <= 600 * PAGE_SIZE
    assert len(tries) <= 4
