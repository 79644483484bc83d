"""One system, with the times of its start: from the first guest's launch to the last one ready, and of its end.

    python benchmarks/programs/system.py CONFIG

One line of JSON says that all guests are ready, one more that the system is down, after the standard input has ended
or SIGINT came. Commands such as `dcss verify` reach it meanwhile.
"""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from dcss.config.load import load_plan
from dcss.host.garbage import collect_seldom
from dcss.progress import SilentProgress
from dcss.system.system import System


async def serve(config: Path) -> None:
    """Start the system, say when it is ready, and take it down when nobody needs it any more."""
    loop = asyncio.get_running_loop()
    unneeded = asyncio.Event()
    loop.add_reader(0, unneeded.set)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, unneeded.set)
    plan = load_plan(config)
    ends = time.monotonic()
    async with System(plan, SilentProgress()) as system:
        wait = asyncio.ensure_future(unneeded.wait())
        timed = asyncio.ensure_future(start(system))
        await asyncio.wait([wait, timed], return_when=asyncio.FIRST_COMPLETED)
        if timed.done():
            print(json.dumps(timed.result()), flush=True)
        else:
            timed.cancel()
        await wait
        loop.remove_reader(0)
        ends = time.monotonic()
    print(json.dumps({"stop": time.monotonic() - ends}), flush=True)


async def start(system: System) -> dict[str, object]:
    """Publish and launch; return the times, and the processes of the guests and of the engines."""
    began = time.monotonic()
    await system.publish()
    published = time.monotonic()
    system.launch()
    await system.wait()
    ready = time.monotonic()
    failed = [name for name, guest in system.guests.items() if not guest.ready]
    if failed:
        raise SystemExit(f"guests failed: {', '.join(failed)}")
    return {
        "publish": published - began,
        "ready": ready - published,
        "pids": [pid for guest in system.guests.values() for pid in guest.pids],
        "engines": [pid for engine in system.engines.values() for pid in engine.pids],
        "segment_bytes": sum(segment.object.size_bytes for segment in system.cp.segments.values()),
    }


if __name__ == "__main__":
    collect_seldom()  # as the command line has it
    asyncio.run(serve(Path(sys.argv[1])))
