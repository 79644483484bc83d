"""Saving from a guest: DEFSEG and SAVESEG by DIAGNOSE X'08', and dcssblk's pending saves (FACTS sections 3 and 4)."""

from errno import ENODEV

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.cpcmd import cpcmd
from vmguest.kernel import Kernel

CONTENT = b"published".ljust(PAGE_SIZE, b".")


def defined(cp: BlockingCp, name: str = "LIB", words: str = "20000-200FF EW") -> None:
    """Have a saved segment, made as an administrator makes it: DEFSEG and SAVESEG."""
    assert cp.execute(f"DEFSEG {name} {words}").return_code == 0
    assert cp.execute(f"SAVESEG {name}").return_code == 0


def write(kernel: Kernel, text: bytes) -> None:
    """Write the first page of the first device through its block I/O."""
    device = kernel.dcssblk.devices[0]
    opened = device.open()
    frame = kernel.machine.storage.allocate(1)
    kernel.machine.storage.view(frame * PAGE_SIZE, len(text))[:] = text
    device.write(opened, 0, kernel.machine.storage.address(frame), PAGE_SIZE)
    device.release(opened)


def test_cpcmd_answers_in_the_buffer_and_says_what_found_no_room(control_program: BlockingCp) -> None:
    defined(control_program)
    with guest_kernel(control_program) as kernel:
        whole = cpcmd(kernel.machine, "QUERY NSS NAME LIB MAP", 4096)
        assert whole.return_code == 0
        assert whole.text.startswith("FILE FILENAME FILETYPE MINSIZE")
        assert " LIB " in whole.text
        cut = cpcmd(kernel.machine, "QUERY NSS NAME LIB MAP", 20)
        assert cut.text == whole.text[:20]
        assert cut.missing_bytes == len(whole.text) - 20
        assert cpcmd(kernel.machine, "NONSENSE", 4096).return_code != 0
        assert cpcmd(kernel.machine, "NONSENSE").text == ""


def test_a_skeleton_that_is_left_over_stops_a_save(control_program: BlockingCp) -> None:
    """segment_save issues DEFSEG, then SAVESEG (K313); DEFSEG meets the skeleton (FACTS 1.4: 299E)."""
    defined(control_program)
    assert control_program.execute("DEFSEG LIB 20000-2000F SR").return_code == 0
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.add("LIB")
        write(kernel, b"second edition")
        kernel.dcssblk.save("LIB", wanted=True)
        assert kernel.log.messages("err") == ["extmem: Saving a DCSS failed with DEFSEG response code 299"]
        assert control_program.execute("PURGE NSS 0002").return_code == 0
        kernel.dcssblk.save("LIB", wanted=True)
        assert len(kernel.log.messages("err")) == 1
        assert control_program.users("LIB") == 0  # of the new version


def test_an_exclusive_copy_is_saved_and_new_loads_get_it(control_program: BlockingCp) -> None:
    defined(control_program)
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.add("LIB")
        write(kernel, b"first edition")
        kernel.dcssblk.save("LIB", wanted=True)
        assert kernel.log.messages("info")[-1] == "dcssblk: All DCSSs that map to device LIB are saved"
        assert kernel.log.messages("err") == []
    with guest_kernel(control_program, "OTHER") as kernel:
        segment = kernel.extmem.segment_load("LIB", do_nonshared=False)
        assert bytes(hostmem.view(kernel.machine.absolute(segment.start >> 12), 13)) == b"first edition"


def test_a_save_waits_until_the_device_is_idle(control_program: BlockingCp) -> None:
    defined(control_program)
    with guest_kernel(control_program) as kernel:
        device = kernel.dcssblk.add("LIB")
        opened = device.open()
        kernel.dcssblk.save("LIB", wanted=True)
        assert device.save_pending
        kernel.dcssblk.save("LIB", wanted=False)
        kernel.dcssblk.save("LIB", wanted=False)
        kernel.dcssblk.save("LIB", wanted=True)
        packets = kernel.calls.packets  # type: ignore[attr-defined]
        before = len(packets)
        device.release(opened)
        assert not device.save_pending
        assert len(packets) == before + 2
        assert kernel.log.messages("info")[-4:] == [
            "dcssblk: Device LIB is in use, its DCSSs will be saved when it becomes idle",
            "dcssblk: A pending save request for device LIB has been canceled",
            "dcssblk: Device LIB is in use, its DCSSs will be saved when it becomes idle",
            "dcssblk: Device LIB has become idle and is being saved now",
        ]


def test_types_without_content_are_not_saved(control_program: BlockingCp) -> None:
    defined(control_program, words="20000-200FF EN")
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.add("LIB")
        packets = kernel.calls.packets  # type: ignore[attr-defined]
        before = len(packets)
        kernel.dcssblk.save("LIB", wanted=True)
        assert len(kernel.calls.packets) == before  # type: ignore[attr-defined]
        assert kernel.log.messages("warn") == ["dcssblk: DCSS LIB is of type SN or EN and cannot be saved"]
        with pytest.raises(KernelError) as caught:
            kernel.dcssblk.save("NOSUCH", wanted=True)
        assert caught.value.errno == ENODEV


def test_what_cp_refuses_is_only_in_the_log(control_program: BlockingCp) -> None:
    control_program.publish(definition("LIB"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        kernel.extmem.segment_save("NOSUCH")
        assert kernel.log.messages("err") == ["extmem: Saving unknown DCSS NOSUCH failed"]
