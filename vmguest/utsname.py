"""What uname(2) says of every guest, but for its name."""

SYSTEM = "Linux"
RELEASE = "3.13.0-dcss"
VERSION = "#1 dcss-emulator"
MACHINE = "s390x"
