"""The command line of QEMU: what a machine has, and the order of its kernel's parameters."""

from pathlib import Path

from dcss.engines.linux.qemu import Machine


def test_what_a_user_appends_comes_after_what_every_kernel_is_given() -> None:
    machine = Machine("L", 1 << 30, 256 << 20, 2, Path("/boot/vmlinuz"), "init_on_free=0 quiet")
    words = machine.command(3, 4, 5, 6)
    parameters = words[words.index("-append") + 1].split()
    assert parameters[0] == "mem=256M"
    assert parameters[-2:] == ["init_on_free=0", "quiet"]
    assert parameters.index("init_on_free=1") < len(parameters) - 2
    assert words[words.index("-smp") + 1] == "2"
    assert "virtio-balloon-ccw,free-page-reporting=on,ioeventfd=off" in words


def test_a_kernel_sets_memory_aside_for_the_cpus_that_it_has() -> None:
    machine = Machine("L", 1 << 30, 256 << 20, 2, Path("/boot/vmlinuz"), "")
    words = machine.command(3, 4, 5, 6)
    assert "possible_cpus=2" in words[words.index("-append") + 1].split()
