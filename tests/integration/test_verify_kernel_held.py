"""What the kernel holds for a guest: detached System V segments are searched, the rest leaves the claim open."""

import ctypes

import pytest
from claim_support import NO_COPIES, assert_only_false, assert_verified, detail
from segment_support import Stage, map_all, order

from dcss.verify.examine import verify

_libc = ctypes.CDLL(None)


def _open_reason(*orders: list[object]) -> str:
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        stage.guest([*map_all(), *orders])
        result = verify(stage.system)
    assert {claim.claim: claim.holds for claim in result.claims}[NO_COPIES] is None
    assert result.verdict == "unproved"
    reason = detail(result, NO_COPIES)
    named = [limit for limit in result.limits if limit.startswith("guest LINUX02: ")]
    assert named
    assert named[0] in reason
    return named[0]


def test_a_detached_system_v_segment_is_searched() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest(map_all())
        stage.guest([*map_all(), order("hide", how="system_v", page=8, pages=40)])
        try:
            reason = assert_only_false(verify(stage.system), NO_COPIES)
        finally:
            stage.remove_system_v()
    assert reason.startswith("guest LINUX02 (kernel): 40 pages of LIB:/lib/one.so in System V segment ")
    assert "which nobody has attached" in reason


def test_another_ones_segment_is_none_of_the_guests() -> None:
    number = _libc.shmget(0, 1 << 16, 0o1600)
    try:
        with Stage() as stage:
            stage.publish()
            stage.guest(map_all())
            assert_verified(verify(stage.system))
    finally:
        _libc.shmctl(number, 0, None)


def test_a_message_in_flight_leaves_the_claim_open() -> None:
    reason = _open_reason(order("hide", how="message", page=8, pages=40))
    assert "messages on their way to this socket hold 1 descriptor, which nobody can look at" in reason


def test_a_full_pipe_leaves_the_claim_open() -> None:
    assert "this pipe holds 163,840 bytes" in _open_reason(order("hide", how="pipe", page=8, pages=40))


def test_a_full_socket_leaves_the_claim_open() -> None:
    assert "this socket holds 163,840 bytes" in _open_reason(order("hide", how="socket", page=8, pages=40))


def test_a_full_message_queue_leaves_the_claim_open() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), order("hide", how="message_queue", page=8, pages=40)])
        result = verify(stage.system)
    assert result.verdict == "unproved"
    assert "this message queue holds 81,920 bytes, which nobody can look at" in detail(result, NO_COPIES)


def test_what_is_little_is_no_page() -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), order("chatter", size=4095)])
        result = verify(stage.system)
    assert_verified(result)
    assert result.limits == () or all("guest" not in limit for limit in result.limits)


def test_files_registered_with_io_uring_leave_the_claim_open() -> None:
    orders = [order("hide", how="io_uring", page=8, pages=40)]
    with Stage() as stage:
        stage.publish()
        try:
            stage.guest([*map_all(), *orders])
        except AssertionError as error:
            if "io_uring" in str(error):
                pytest.skip("needs a kernel that lets this user set up an io_uring")
            raise
    assert "an io_uring holds 1 file and 0 buffers" in _open_reason(*orders)
