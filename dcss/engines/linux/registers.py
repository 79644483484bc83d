"""The registers of an s390x CPU by the numbers of QEMU's gdb stub (gdb-xml/s390-core64.xml)."""

PSW_MASK, PSW_ADDRESS, GPR0 = 0, 1, 2
CONDITION_CODE_SHIFT = 44  # in the PSW's mask
