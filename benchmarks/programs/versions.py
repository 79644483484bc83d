"""Many versions of one segment, each used by a machine of its own, and the seconds that CP then takes.

    python benchmarks/programs/versions.py SYSTEM COUNT

It prints one line of JSON. The segment has one megabyte.
"""

import asyncio
import json
import os
import sys
import time

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName
from dcss.abi.hypercall import Request
from dcss.cp.program import ControlProgram
from dcss.cp.requests import THE_OPERATOR
from dcss.cp.segments.content import Fill
from dcss.cp.segments.segment import Segment

NAME = SegmentName("LIB")
DEFINITION = SegmentDefinition(NAME, (PageRange.parse("20000-200FF SR"),))
DIAG, BLOCK, LOADSHRX = 0x64, 0x1000, 0x20
STORAGE_BYTES = 1 << 20
LAST = 8  # so many operations are timed, with all versions there


class Desk:
    """CP, and an operator who saves the segment again and again."""

    def __init__(self, system: str) -> None:
        self.cp = ControlProgram(system)
        self.saved = 0

    async def save(self) -> None:
        """Save a new version, in place of the one that new loads got so far."""
        await self.cp.saved.define(DEFINITION)
        await self.cp.saved.save(NAME, self._fill_for)
        self.saved += 1

    async def load(self) -> None:
        """Have a new machine load the version that is current."""
        name = f"U{self.saved:06}"
        self.cp.register(name, storage_bytes=STORAGE_BYTES)
        reply = await self.cp.handle(name, Request(DIAG, BLOCK, LOADSHRX, "LIB     ".encode("cp037")))
        if reply.condition_code:
            raise SystemExit(f"version {self.saved}: found condition code {reply.condition_code}, wanted 0")

    async def _fill_for(self, _: Segment) -> Fill:
        content = str(self.saved).encode()

        def fill(descriptor: int) -> None:
            os.pwrite(descriptor, content, 0)

        return fill


async def measure(system: str, count: int) -> dict[str, float]:
    """Make `count` versions in use; return the seconds of one save, one load and one query then."""
    desk = Desk(system)
    try:
        began = time.perf_counter()
        for _ in range(count):
            await desk.save()
            await desk.load()
        made = time.perf_counter()
        for _ in range(LAST):
            await desk.cp.execute("QUERY NSS MAP", THE_OPERATOR)
        queried = time.perf_counter()
        if len(desk.cp.files) < count:
            raise SystemExit(f"found {len(desk.cp.files)} files, wanted {count} versions in use")
    finally:
        desk.cp.close()
    return {"save and load": made - began, "query": (queried - made) / LAST}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))
