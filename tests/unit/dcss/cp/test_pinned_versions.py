"""Versions that are pinned stay in storage although they are purged or replaced."""

from cp_support import control_program, define, filler, objects_of


def test_a_purged_version_stays_until_the_last_pin_goes() -> None:
    with control_program() as cp:
        old = cp.publish(define("LIB", "20000-2000F SR"), filler(b"old"))
        with cp.pinned_versions():
            with cp.pinned_versions():
                cp.publish(define("LIB", "20000-2000F SR"), filler(b"new"))
                assert list(cp.files.values()) == [cp.available[old.name]]
                assert bytes(old.object.buffer[:3]) == b"old"
            assert bytes(old.object.buffer[:3]) == b"old"
            assert len(objects_of(cp.system)) == 2
        assert old.stored is None
        assert len(objects_of(cp.system)) == 1


def test_what_is_still_pinned_when_cp_ends_goes_with_it() -> None:
    with control_program() as cp:
        cp.publish(define("LIB", "20000-2000F SR"), filler(b"old"))
        pinned = cp.pinned_versions()
        pinned.__enter__()
        assert cp.execute("PURGE NSS NAME LIB").return_code == 0
        assert len(objects_of(cp.system)) == 1


def test_changes_are_counted() -> None:
    with control_program() as cp:
        before = cp.changes
        cp.publish(define("LIB", "20000-2000F SR"), filler(b"old"))
        assert cp.changes == before
        assert cp.execute("PURGE NSS NAME LIB").return_code == 0
        assert cp.changes != before
