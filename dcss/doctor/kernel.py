"""What the kernel's settings allow. Source: Documentation/admin-guide of Linux (mm, sysctl/vm, LSM/Yama)."""

from dcss.abi.page import PAGE_SIZE
from dcss.doctor.machine import Finding, Machine

_DEFAULT_MAP_COUNT = 65530  # DEFAULT_MAX_MAP_COUNT of include/linux/mm.h
_HUGE_PAGES_ON = frozenset({"always", "within_size", "force"})  # advise needs a madvise that CP does not make


def page_size(machine: Machine) -> Finding:
    """The size of a page, which the emulator shares with s390x."""
    if machine.page_size_bytes == PAGE_SIZE:
        return Finding("page size", "ok", f"{PAGE_SIZE} bytes")
    return Finding(
        "page size",
        "missing",
        f"{machine.page_size_bytes} bytes",
        f"everything: a segment's pages are {PAGE_SIZE} bytes, as s390x's are",
        f"boot a kernel with pages of {PAGE_SIZE} bytes",
    )


def frames(machine: Machine) -> Finding:
    """Whether page frame numbers and their counts can be read."""
    reason = machine.hidden_because()
    if reason is None:
        return Finding("page frames", "ok", "visible")
    return Finding(
        "page frames",
        "limit",
        f"hidden: {reason}",
        "the proof: verdicts rest on mappings instead of frames, and what cannot be seen is null",
        "sudo dcss …; in a container: docker run --privileged (or --cap-add SYS_ADMIN, with /proc/kpagecount readable)",
    )


def map_count(machine: Machine) -> Finding:
    """How many mappings a process may have: a guest needs one for each run of contiguous blocks that it maps."""
    text = machine.setting("proc/sys/vm/max_map_count")
    if text is None:
        return Finding("mappings", "ok", "vm.max_map_count is not shown here")
    found = f"vm.max_map_count is {text}"
    if int(text) >= _DEFAULT_MAP_COUNT:
        return Finding("mappings", "ok", found)
    return Finding(
        "mappings",
        "limit",
        found,
        "how many files, and runs of fragmented ones, a guest can map",
        f"sudo sysctl -w vm.max_map_count={_DEFAULT_MAP_COUNT}",
    )


def huge_pages(machine: Machine) -> Finding:
    """Whether shared memory may stand in huge pages."""
    text = machine.setting("sys/kernel/mm/transparent_hugepage/shmem_enabled")
    if text is None:
        return Finding(
            "huge pages",
            "limit",
            "none for shared memory in this kernel",
            "speed: each guest has a page-table entry for each 4 KiB that it maps",
            "boot a kernel with CONFIG_TRANSPARENT_HUGEPAGE",
        )
    chosen = text.partition("[")[2].partition("]")[0]
    found = f"shmem_enabled is {chosen}"
    if chosen in _HUGE_PAGES_ON:
        return Finding("huge pages", "ok", found)
    return Finding(
        "huge pages",
        "limit",
        found,
        "speed: each guest has a page-table entry for each 4 KiB that it maps",
        "echo within_size | sudo tee /sys/kernel/mm/transparent_hugepage/shmem_enabled",
    )


def yama(machine: Machine) -> Finding:
    """Whether CP, the guests' ancestor, may read their memory."""
    text = machine.setting("proc/sys/kernel/yama/ptrace_scope")
    if text is None:
        return Finding("Yama", "ok", "not in this kernel")
    found = f"ptrace_scope is {text}"
    if int(text) <= 1 or (int(text) == 2 and machine.root):
        return Finding("Yama", "ok", found)
    mend = "sudo sysctl -w kernel.yama.ptrace_scope=1" if int(text) == 2 else "reboot: 3 cannot be taken back"
    return Finding("Yama", "limit", found, "verify and measure: CP may not read its own guests' memory", mend)


def overcommit(machine: Machine) -> Finding:
    """Whether the kernel refuses memory that nobody has touched yet."""
    text = machine.setting("proc/sys/vm/overcommit_memory")
    if text != "2":
        return Finding("overcommit", "ok", f"vm.overcommit_memory is {text or 'not shown here'}")
    return Finding(
        "overcommit",
        "limit",
        "vm.overcommit_memory is 2",
        "the number of guests: each one's whole storage counts as used from its start",
        "sudo sysctl -w vm.overcommit_memory=0",
    )


def ksm(machine: Machine) -> Finding:
    """Whether KSM merges pages behind everyone's back."""
    text = machine.setting("sys/kernel/mm/ksm/run")
    if text is None or text != "1":
        return Finding("KSM", "ok", "not in this kernel" if text is None else "off")
    merged = machine.setting("sys/kernel/mm/ksm/pages_sharing") or "some"
    return Finding(
        "KSM",
        "limit",
        f"on, {merged} pages merged",
        "figures: private pages that KSM merged no longer count as private (QEMU guests offer theirs)",
        "echo 2 | sudo tee /sys/kernel/mm/ksm/run",
    )
