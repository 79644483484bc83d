"""Bits of /proc/PID/pagemap, /proc/kpageflags and the word size they share with /proc/kpagecount.

Source: Documentation/admin-guide/mm/pagemap.rst and include/uapi/linux/kernel-page-flags.h of Linux.
"""

from typing import Final

ENTRY_SIZE_BYTES: Final = 8

PM_PFRAME_MASK: Final = (1 << 55) - 1  # page frame number, where present; 0 without CAP_SYS_ADMIN
PM_SOFT_DIRTY: Final = 1 << 55
PM_MMAP_EXCLUSIVE: Final = 1 << 56  # mapped by this process only
PM_UFFD_WP: Final = 1 << 57
PM_GUARD_REGION: Final = 1 << 58  # MADV_GUARD_INSTALL: a marker, no page (Linux 6.15)
PM_FILE: Final = 1 << 61  # file page or shared anonymous page
PM_SWAP: Final = 1 << 62
PM_PRESENT: Final = 1 << 63

KPF_SWAPBACKED: Final = 1 << 14
KPF_ANON: Final = 1 << 12
KPF_MMAP: Final = 1 << 11
KPF_COMPOUND_HEAD: Final = 1 << 15
KPF_COMPOUND_TAIL: Final = 1 << 16
KPF_HUGE: Final = 1 << 17
KPF_KSM: Final = 1 << 21
KPF_THP: Final = 1 << 22
KPF_ZERO_PAGE: Final = 1 << 24
