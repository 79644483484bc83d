"""The page, the unit in which host and guests map storage."""

from typing import NewType

PAGE_SIZE = 4096
PAGE_SHIFT = 12

PageFrameNumber = NewType("PageFrameNumber", int)  # a frame of the host, as pagemap shows it
