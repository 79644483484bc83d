"""What engine `process` refuses before anything is started, with what mends it."""

from dataclasses import replace

from system_support import guest

from dcss.config.plan import GuestPlan, Step
from dcss.engines.forked.packets import PACKET_BYTES
from dcss.engines.forked.spec import spec_of
from dcss.engines.process.engine import ProcessEngine


def test_a_list_of_steps_that_does_not_fit_into_one_packet() -> None:
    fits = guest("G01", run=(Step("map", "/usr/lib/*"),))
    large = replace(fits, run=tuple(Step("map", f"/usr/lib/{number:060}") for number in range(2000)))
    problems = ProcessEngine().check([fits, large, replace(large, name="G02")])
    size_bytes = len(spec_of(replace(large, name="G02")).pack())
    assert size_bytes > PACKET_BYTES
    assert [str(problem) for problem in problems] == [
        f"{fits.where}: mounts and run: found {size_bytes} bytes for guest G02, wanted at most {PACKET_BYTES}"
        " (let a pattern stand for many files)"
    ]


def test_a_list_of_steps_that_fills_one_packet_fits() -> None:
    def sized(pattern_bytes: int) -> GuestPlan:
        return guest("G01", run=(Step("map", "x" * pattern_bytes),))

    room = PACKET_BYTES - len(spec_of(sized(0)).pack())
    assert ProcessEngine().check([sized(room)]) == ()
    assert len(ProcessEngine().check([sized(room + 1)])) == 1
