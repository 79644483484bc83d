"""Guests start, map and are killed at random, CP is killed and started again; afterwards nothing is left."""

import os
import random
import subprocess
import time
from contextlib import suppress

import pytest
from cli_support import Dcss
from wait_support import kill, wait_at_rest

GUESTS = 50
CALM_SECONDS = 300.0  # a guest that was killed five times is started again after half a minute


class Storm:
    """Fifty guests under one CP after the other."""

    def __init__(self, dcss: Dcss, seed: int) -> None:
        self.dcss = dcss
        self.config = dcss.guests(GUESTS, ", restart: on-failure")
        self.random = random.Random(seed)
        self.done = dict.fromkeys(("guests killed", "CPs killed", "starts cut short", "guests restarted", "proofs"), 0)

    def up(self) -> None:
        self.dcss("up", self.config, "-d")

    def kill_guests(self) -> None:
        living = [guest["pid"] for guest in self.dcss.ps()["guests"] if guest["pid"] is not None]
        for pid in self.random.sample(living, min(len(living), self.random.randrange(1, 10))):
            self._kill(pid)
            self.done["guests killed"] += 1

    def kill_cp(self) -> None:
        self._kill(self.dcss.ps()["pid"])
        self.done["CPs killed"] += 1
        self.up()

    def cut_a_start_short(self) -> None:
        self._kill(self.dcss.ps()["pid"])
        self.dcss("down", self.dcss.system)
        with self.dcss.start("up", self.config, "-d", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            while not (cps := [pid for pid, name in self.dcss.processes().items() if name == "dcss:cp"]):
                assert process.poll() is None, process.communicate()
            time.sleep(self.random.uniform(0, 0.5))  # at any moment of its start, or after it
            for pid in cps:
                self._kill(pid)
            process.communicate(timeout=300)
        self.done["starts cut short"] += 1
        self.up()

    def restart_a_guest(self) -> None:
        name = f"G{self.random.randrange(1, GUESTS + 1):02d}"
        # Whatever had become of it: it is ready in the end.
        assert self.dcss("guest", "restart", name).stdout == f"{name}: ready\n"
        self.done["guests restarted"] += 1

    def prove(self) -> None:
        # A guest may come or go meanwhile; then the proof is not to be had, and says so.
        done = self.dcss("verify", status=None)
        assert done.returncode in {0, 1, 3}, done
        assert "Traceback" not in done.stderr
        self.done["proofs"] += 1

    def calm(self) -> None:
        """Bring every guest back."""
        end = time.monotonic() + CALM_SECONDS
        while True:
            states = self.dcss.states()
            if set(states.values()) == {"ready"}:
                return
            assert time.monotonic() < end, states
            for name, state in states.items():
                if state in {"failed", "killed"}:
                    self.dcss("guest", "start", name, status=None)
            time.sleep(0.2)

    def descriptors(self) -> dict[str, int]:
        """Return how many descriptors CP and the fork server have."""
        servers = {name: pid for pid, name in self.dcss.processes().items() if name in {"dcss:cp", "dcss:forkserver"}}
        for pid in servers.values():
            wait_at_rest(pid)
        return {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in servers.items()}  # noqa: PTH208

    @staticmethod
    def _kill(pid: int) -> None:
        with suppress(ProcessLookupError):
            kill(pid)


def weather(dcss: Dcss, seconds: float) -> Storm:
    """Let a storm go over a system for so long, and check all that is left."""
    seed = time.time_ns() % 1_000_000
    print(f"seed {seed}")
    storm = Storm(dcss, seed)
    storm.up()
    fresh = storm.descriptors()
    actions = (
        [storm.kill_guests] * 6 + [storm.restart_a_guest] * 2 + [storm.prove, storm.kill_cp, storm.cut_a_start_short]
    )
    end = time.monotonic() + seconds
    once = storm.random.sample(sorted(set(actions), key=actions.index), len(set(actions)))
    while time.monotonic() < end:
        action = once.pop() if once else storm.random.choice(actions)
        action()
    storm.calm()
    verdict = dcss.json("verify")
    assert verdict["verdict"] == "verified", verdict
    assert {claim["claim"]: claim["holds"] for claim in verdict["claims"]}["books-close"] in {True, None}
    assert dcss.ps()["segments"][0]["guests"] == GUESTS
    assert storm.descriptors() == fresh
    assert len(dcss.segment_objects()) == 1
    dcss("down")
    assert dcss.left() == []
    return storm


def test_a_short_storm(dcss: Dcss) -> None:
    weather(dcss, 5)


@pytest.mark.slow
def test_a_storm_of_a_minute(dcss: Dcss) -> None:
    storm = weather(dcss, 60)
    print(storm.done)
    assert all(storm.done.values()), storm.done
