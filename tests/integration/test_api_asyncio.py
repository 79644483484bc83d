"""dcss.aio: many calls at once, and cancellations that end what they have begun."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from api_support import SHARING, plan
from cli_support import Dcss

import dcss


def test_many_guests_at_once(home: Dcss) -> None:
    async def main() -> None:
        async with dcss.aio.System(plan(home, {**SHARING, "count": 12})) as system:
            guests = await system.guests()
            done = await asyncio.gather(*(guest.exec(["ls", "/usr"]) for guest in guests.values()))
            assert [(each.guest, each.stdout) for each in done] == [(name, "lib\n") for name in guests]
            verdict, account, status = await asyncio.gather(system.verify(), system.measure(), system.status())
            verdict.raise_unless_verified()
            assert len(account.guests) == len(status.guests) == 12
            assert (await guests["G01"].restart()).state == "ready"
            assert (await guests["G02"].stop()).state == "stopped"
            assert (await guests["G02"].start()).state == (await guests["G02"].status()).state == "ready"
            assert "dcssblk" in await guests["G03"].log()
            assert "up with 12 guests" in await system.log()
            assert "LIB" in "".join(await system.cp("QUERY NSS"))
            async with await dcss.aio.System.attach(system.name) as same:
                assert same.name == system.name
            assert (await system.status()).state == "up"

    asyncio.run(main())
    home.assert_nothing_left(seconds=0)


def test_a_cancelled_command_ends(home: Dcss) -> None:
    Path("tree/large").write_bytes(bytes(range(125)) * 160_000)

    async def main() -> None:
        async with dcss.aio.System(plan(home)) as system:
            guest = (await system.guests())["G01"]
            loop, begun = asyncio.get_running_loop(), asyncio.Event()
            task = asyncio.create_task(
                guest.exec(["cat", *["/large"] * 400], on_output=lambda *_: loop.call_soon_threadsafe(begun.set))
            )
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await (await system.guests())["G02"].exec(["cat", *["/large"] * 400])
            assert (await system.verify()).verdict == "verified"

    asyncio.run(main())


def test_a_start_that_is_cancelled_leaves_nothing(home: Dcss) -> None:
    large = home.home / "tree/large"
    large.write_bytes(bytes(200_000_000))

    async def main() -> None:
        # A guest that is not ready before: this process may have to wait for its turn.
        slow = {**SHARING, "run": [{"exec": ["sleep", "600"]}]}
        starting = asyncio.create_task(dcss.aio.System(plan(home, slow)).start())
        while not home.segment_objects():  # an event of another process: its segment is there
            await asyncio.sleep(0.01)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(main())
    home.assert_nothing_left(seconds=0)


PROGRAM = """
import asyncio, os, signal
import dcss

async def main():
    async with dcss.aio.System({config!r}) as system:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_ctrl_c_takes_the_system_down(home: Dcss) -> None:
    path = home.home / "program.py"
    path.write_text(PROGRAM.format(config=plan(home)))
    done = subprocess.run(
        [sys.executable, str(path)], check=False, cwd=home.home, env=home.environment, capture_output=True, text=True
    )
    assert "KeyboardInterrupt" in done.stderr
    home.assert_nothing_left(seconds=0)


def test_errors_are_the_same_as_without_asyncio(home: Dcss) -> None:
    async def main() -> None:
        with pytest.raises(dcss.ConfigError, match=r"missing\.yaml"):
            await dcss.aio.System("missing.yaml").start()
        with pytest.raises(dcss.ConfigError, match="SYSTEM: found none that runs"):
            await dcss.aio.System.attach()
        async with dcss.aio.System(plan(home)) as system:
            assert repr(system) == f"<dcss.aio.System {home.system}>"
            with pytest.raises(dcss.SystemBusyError):
                await dcss.aio.System(plan(home)).start()
            os.kill((await system.status()).pid, 9)
            with pytest.raises(dcss.LaunchError, match="ended by signal 9"):
                await system.close()

    asyncio.run(main())
    home.assert_nothing_left()
