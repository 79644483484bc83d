"""Guests go where their memory fits, beside those that share their segments; what does not fit is told by host."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcss.config.fleet_plan import GuestEntry
from dcss.config.plan import PlacementRule
from dcss.fleet.costs import Costs, EntryCost
from dcss.fleet.placement import Host, Placer

RULES: tuple[PlacementRule, ...] = ("pack", "spread")


def entry(number: int, count: int, *segments: str) -> GuestEntry:
    return GuestEntry(number, f"G{number}", count, "process", 1 << 20, segments, ())


def placed(
    entries: Sequence[GuestEntry],
    free: Sequence[int],
    rule: PlacementRule = "pack",
    *,
    each: Sequence[EntryCost] = (),
    segments: dict[str, int] | None = None,
    host_bytes: int = 0,
    limits: Sequence[int] = (),
    bound: Sequence[frozenset[int]] = (),
) -> Placer:
    costs = Costs(tuple(each) or (EntryCost(1, 1),) * len(entries), segments or {"A": 10, "B": 10}, host_bytes)
    hosts = [Host(f"h{index}", size, limits[index] if limits else 10**9) for index, size in enumerate(free)]
    placer = Placer(entries, hosts, costs)
    placer.place(rule, bound)
    return placer


def guests(placer: Placer) -> list[dict[int, int]]:
    return [host.placed for host in placer.hosts]


def test_pack_fills_one_host_after_the_other_and_counts_a_segment_once_on_each() -> None:
    placer = placed([entry(0, 8, "A")], [15, 15, 15])
    assert guests(placer) == [{0: 5}, {0: 3}, {}]
    assert [placer.used_bytes(host) for host in placer.hosts] == [15, 13, 0]


def test_spread_levels_the_numbers_of_guests() -> None:
    assert guests(placed([entry(0, 8, "A")], [99, 99, 99], "spread")) == [{0: 3}, {0: 3}, {0: 2}]


def test_spread_gives_the_rest_to_hosts_with_room() -> None:
    assert guests(placed([entry(0, 9, "A")], [12, 99, 99], "spread")) == [{0: 2}, {0: 4}, {0: 3}]


def test_guests_that_share_segments_go_together_also_when_spread() -> None:
    entries = [entry(0, 2, "A"), entry(1, 2, "B"), entry(2, 2, "A")]
    spread = placed(entries, [99, 99], "spread")
    assert [host.segments for host in spread.hosts] == [{"A"}, {"B"}]
    packed = placed(entries, [14, 14])
    assert [host.segments for host in packed.hosts] == [{"A"}, {"B"}]
    assert not packed.unplaced


def test_the_first_guest_of_an_entry_costs_more_and_cp_is_paid_once() -> None:
    placer = placed([entry(0, 3, "A")], [100], each=[EntryCost(5, 2)], host_bytes=7)
    assert placer.used_bytes(placer.hosts[0]) == 5 + 2 + 2 + 10 + 7


def test_a_limit_of_guests_holds() -> None:
    placer = placed([entry(0, 8, "A")], [99, 99], limits=[3, 4])
    assert guests(placer) == [{0: 3}, {0: 4}]
    assert placer.unplaced == {0: 1}


def test_entries_of_one_host_go_there_whole_or_not_at_all() -> None:
    entries = [entry(0, 3, "A"), entry(1, 3, "A"), entry(2, 3, "A")]
    fitting = placed(entries, [15, 30], bound=[frozenset({0, 1})])
    assert guests(fitting) == [{2: 3}, {0: 3, 1: 3}] or guests(fitting) == [{}, {0: 3, 1: 3, 2: 3}]
    assert placed(entries, [15, 15], bound=[frozenset({0, 1})]).unplaced == {0: 3, 1: 3}


@pytest.mark.parametrize("rule", RULES)
def test_no_host_means_no_room(rule: PlacementRule) -> None:
    assert placed([entry(0, 3, "A")], [], rule).unplaced == {0: 3}


SEGMENTS = st.sets(st.sampled_from("ABC"), max_size=3)


@given(
    st.sampled_from(RULES),
    st.lists(st.tuples(st.integers(1, 30), SEGMENTS, st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 90), st.integers(1, 40)), max_size=6),
    st.integers(0, 8),
)
def test_every_guest_is_on_one_host_or_unplaced_and_no_host_has_more_than_it_can(
    rule: PlacementRule,
    wanted: list[tuple[int, set[str], int, int]],
    hosts: list[tuple[int, int]],
    host_bytes: int,
) -> None:
    entries = [entry(number, count, *sorted(names)) for number, (count, names, _, _) in enumerate(wanted)]
    each = [EntryCost(following + more, following) for _, _, following, more in wanted]
    sizes = {"A": 3, "B": 20, "C": 0}
    free, limits = [size for size, _ in hosts], [limit for _, limit in hosts]
    placer = placed(entries, free, rule, each=each, segments=sizes, host_bytes=host_bytes, limits=limits)
    for number, guest_entry in enumerate(entries):
        on_hosts = sum(host.placed.get(number, 0) for host in placer.hosts)
        assert on_hosts + placer.unplaced.get(number, 0) == guest_entry.guests
    for host, (size, limit) in zip(placer.hosts, hosts, strict=True):
        assert host.guests == sum(host.placed.values()) <= limit
        assert placer.used_bytes(host) <= size
        used = [entries[number].segments for number in host.placed]
        assert host.segments == {name for names in used for name in names}
        private = sum(
            count * each[number].next_bytes + each[number].first_bytes - each[number].next_bytes
            for number, count in host.placed.items()
        )
        assert host.private_bytes == private
    for number in placer.unplaced:  # nobody was left out where there was room
        for host in placer.hosts:
            full = host.guests >= host.max_guests
            assert full or placer.need(host, number, 1).total_bytes > placer.left_bytes(host)
