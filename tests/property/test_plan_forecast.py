"""Forecasts are the sums that measure makes, whatever guests there are; patterns name the files of a kind alone."""

from hypothesis import given
from hypothesis import strategies as st
from plan_support import candidates_in, consumer_of, file_of

from dcss.abi.page import PAGE_SIZE
from dcss.image.contents import matched_files
from dcss.plan.forecast import forecast, guests_of_kinds, kinds_of
from dcss.plan.inputs.consumer import Consumer
from dcss.plan.tree import chosen_tree, map_patterns

_PATHS = ["/usr/lib/a", "/usr/lib/b[1]", "/usr/lib/deep/c*", "/usr/d?", "/etc/e", "/f", "/usr/lib/deep/er/g", "/opt/$h"]


@st.composite
def _consumers(draw: st.DrawFn) -> list[Consumer]:
    files = {path: file_of(draw(st.integers(1, 50))) for path in _PATHS}
    chosen = st.lists(st.sampled_from(_PATHS), unique=True, min_size=1)
    return [
        consumer_of(f"input{number}", {path: files[path] for path in draw(chosen)}, draw(st.integers(1, 5)))
        for number in range(draw(st.integers(1, 6)))
    ]


@given(_consumers(), st.integers(1, 2000), st.integers(1, 1 << 30))
def test_totals_are_sums_over_guests(consumers: list[Consumer], guests: int, image_bytes: int) -> None:
    chosen = candidates_in(consumers)
    kinds = kinds_of(chosen, consumers)
    found = forecast(guests, kinds, consumers, image_bytes)
    mapped = [sum(file.node.size_bytes for file in consumers[kind.consumers[0]].files) for kind in kinds]
    counts = guests_of_kinds(guests, kinds, consumers)
    assert found.without_sharing_bytes == sum(count * each for count, each in zip(counts, mapped, strict=True))
    assert found.saved_bytes == found.without_sharing_bytes - found.with_sharing_bytes
    assert found.with_sharing_bytes == image_bytes
    assert sum(kind.guests for kind in found.kinds) == guests
    assert sum(kind.shared_bytes for kind in found.kinds) == found.shared_bytes
    assert sum(kind.private_bytes for kind in found.kinds) == found.private_bytes
    assert found.touched_saved_bytes is None


@given(_consumers(), st.data())
def test_where_all_was_touched_the_forecasts_are_equal(consumers: list[Consumer], data: st.DataObject) -> None:
    for consumer in consumers:
        for file in consumer.files:
            file.touched_bytes = file.node.size_bytes
    kinds = kinds_of(candidates_in(consumers), consumers)
    found = forecast(data.draw(st.integers(1, 100)), kinds, consumers, PAGE_SIZE)
    assert found.touched_saved_bytes == found.saved_bytes


@given(_consumers())
def test_patterns_match_the_files_of_a_kind_and_no_other(consumers: list[Consumer]) -> None:
    chosen = candidates_in(consumers)
    tree = chosen_tree(chosen, consumers)
    for kind in kinds_of(chosen, consumers):
        wanted = {candidate.node for candidate in kind.files}
        patterns = map_patterns(tree, wanted)
        matched = [set(matched_files(tree, pattern).nodes) for pattern in patterns]
        assert all(matched)
        assert set().union(*matched) == wanted
        assert sum(map(len, matched)) == len(wanted)


@given(_consumers())
def test_names_of_kinds_differ_and_leave_room_for_a_number(consumers: list[Consumer]) -> None:
    names = [kind.name for kind in kinds_of(candidates_in(consumers), consumers)]
    assert len(set(names)) == len(names)
    assert all(1 <= len(name) <= 4 and name.isalpha() for name in names)
