"""What programs execute is what their pages hold now, also where a page frame held other instructions before."""

from elf390_support import hello
from guest390_support import Ended, Guest390


def test_a_frame_that_is_used_again_runs_what_it_holds_now(guest: Guest390) -> None:
    for status in range(5):
        text = b"%d\n" % status
        assert guest.run_code(hello(text, status)) == Ended(status, text)


def test_a_file_that_is_written_anew_is_run_anew(guest: Guest390) -> None:
    path = guest.put("program", hello(b"one\n", 1))
    assert guest.run(path) == Ended(1, b"one\n")
    guest.put("program", hello(b"two\n", 2))
    assert guest.run(path) == Ended(2, b"two\n")
