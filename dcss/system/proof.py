"""A running system's proof and account: computed in a thread beside CP's event loop, one at a time."""

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dcss.account.targets import AccountQuestion, SystemTarget
from dcss.cp.segments.shm import SharedObject
from dcss.host.aio import in_thread
from dcss.host.environment import variables_set
from dcss.host.libc import give_back_free_memory
from dcss.progress import Progress, SilentProgress
from dcss.results import MeasureResult, VerifyResult
from dcss.system.extents import ExtentCache
from dcss.system.guest import FAILED_STATES
from dcss.system.hints import failure_hint, plan_hints, reason_hints
from dcss.system.moving import ThreadProgress, moving
from dcss.system.state import SystemState
from dcss.system.targets import guest_counters, objects_of, segment_users, target_of

if TYPE_CHECKING:
    from dcss.account.sampler import Sampler
    from dcss.verify.cache import ContentCache

_ATTEMPTS = 3
# For so long a proof may keep the interpreter from the event loop, which wakes several times for each request.
_SWITCH_SECONDS = 0.0005
Answer = TypeVar("Answer")


class Prover:
    """Proves and measures one system. What is purged meanwhile stays in storage until that is done.

    Whoever cancels one of its calls takes the system down: the guests are killed, so that it ends at once.
    """

    def __init__(self, system: SystemState) -> None:
        self._system = system
        self._lock = asyncio.Lock()
        self.extents = ExtentCache()
        self._content: ContentCache | None = None  # what the last proof derived from the segments
        self._sampler: Sampler | None = None

    @asynccontextmanager
    async def held_off(self) -> AsyncIterator[None]:
        """Let what is under way end, and begin no other before the block ends: it would miss what the block ends."""
        async with self._lock:
            yield

    async def verify(self, evidence_path: Path | None = None) -> VerifyResult:
        """Judge the claims about the guests that live. Raises LaunchError where one of them ends meanwhile."""
        verdict, _, _ = await self._examine(evidence_path, lambda: None, SilentProgress())
        return verdict

    async def examine(self, evidence_path: Path | None, progress: Progress) -> tuple[VerifyResult, MeasureResult]:
        """Do what `verify` and `measure` do in one pass over all processes."""
        async with moving(progress):
            verdict, account, target = await self._examine(evidence_path, self._account_question, progress)
        assert account is not None, "it was asked for"
        return verdict, self._as_told(_with_unmeasured(account, target, ()))

    async def measure(self, limits: Iterable[str] = ()) -> MeasureResult:
        """Return what the guests cost that have sent their own counters; `limits` say what the caller could not see.

        Guests that have not are left out, and named in the result's limits. Raises LaunchError: one ends meanwhile.
        """
        async with self._lock:
            with self._system.cp.pinned_versions():
                target = target_of(self._system)
                result = await self._in_thread(_measure, target, self._account_question())
        return self._as_told(_with_unmeasured(result, target, limits))

    async def sleeping(self) -> frozenset[str]:
        """Return the guests that have not run since `sample` saw them: what they said of themselves still holds."""
        async with self._lock:
            return frozenset() if self._sampler is None else await in_thread(self._sampler.sleeping)

    async def sample(self, limits: Iterable[str] = ()) -> MeasureResult:
        """Do what `measure` does, again and again: it reads guests anew that have run since, and seldom the others."""
        async with self._lock:
            with self._system.cp.pinned_versions():
                target = target_of(self._system)
                result = await self._in_thread(self._sample, target, self._account_question())
        return self._as_told(_with_unmeasured(result, target, limits))

    async def _examine(
        self,
        evidence_path: Path | None,
        question: Callable[[], AccountQuestion | None],
        progress: Progress,
    ) -> tuple[VerifyResult, MeasureResult | None, SystemTarget]:
        """Judge and, where there is a question, measure.

        A verdict against a system whose guests loaded or unloaded segments meanwhile is not final: it is looked at
        again.
        """
        cp = self._system.cp
        async with self._lock:
            for _ in range(_ATTEMPTS):
                changes_before = cp.changes
                with cp.pinned_versions():
                    target, objects = target_of(self._system), objects_of(self._system.cp)
                    progress.phase("verify", len(target.guests), "guests")
                    on_guest = ThreadProgress(progress).advance
                    verdict, account = await self._in_thread(
                        self._judge, target, objects, question(), evidence_path, on_guest
                    )
                if verdict.verdict == "verified" or cp.changes == changes_before:
                    break
        self._system.statistics.judged(verdict)
        return self._with_hints(verdict), account, target

    def prepare(self) -> None:
        """Import what proofs need, in a thread: CP waits for guests meanwhile, and no proof waits for it later."""
        self._system.tasks.start(in_thread(_import_proofs), "import of proofs")

    def _as_told(self, result: MeasureResult) -> MeasureResult:
        """Add what guests and engines say themselves."""
        guests = self._system.guests
        return replace(
            result,
            guests=tuple(
                guests[account.name].described(account) if account.name in guests else account
                for account in result.guests
            ),
        )

    def _with_hints(self, verdict: VerifyResult) -> VerifyResult:
        guests = self._system.supervisor.guests.values()
        failed = [guest for guest in guests if guest.state in FAILED_STATES]
        hints = reason_hints((guest.plan.where, guest.name, guest.failure()) for guest in failed)
        hints += failure_hint([guest.name for guest in failed], len(guests))
        if verdict.verdict != "verified":
            hints = (*plan_hints(self._system.plan.guests), *hints)
        return replace(verdict, hints=hints)

    def _judge(
        self,
        target: SystemTarget,
        objects: Mapping[str, SharedObject],
        question: AccountQuestion | None,
        evidence_path: Path | None,
        on_guest: Callable[[], None] = lambda: None,
    ) -> tuple[VerifyResult, MeasureResult | None]:
        _import_proofs()
        from dcss.verify.cache import ContentCache
        from dcss.verify.examine import examine

        if self._content is None:
            self._content = ContentCache()
        try:
            counted = replace(target, segments=self.extents.with_files(target.segments, objects))
            return examine(counted, question, evidence_path=evidence_path, cache=self._content, on_guest=on_guest)
        finally:
            give_back_free_memory()  # otherwise CP keeps tens of MB of page tables' copies until its end

    def _sample(self, target: SystemTarget, question: AccountQuestion) -> MeasureResult:
        from dcss.account.sampler import Sampler

        if self._sampler is None:
            self._sampler = Sampler()
        return self._sampler.sample(
            _with_counters(target, question),
            question.guest_counters,
            question.segment_users,
            free_before_bytes=question.free_before_bytes,
        )

    def _account_question(self) -> AccountQuestion:
        system = self._system
        return AccountQuestion(guest_counters(system), segment_users(system), system.free_before_bytes)

    async def _in_thread(self, function: Callable[..., Answer], *arguments: object) -> Answer:
        interval_seconds = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            return await in_thread(function, *arguments, on_cancel=self._system.supervisor.kill_all)
        finally:
            sys.setswitchinterval(interval_seconds)


def _import_proofs() -> None:
    """Import what proofs and accounts need; without threads of BLAS, which they do not use."""
    with variables_set(OPENBLAS_NUM_THREADS="1"):
        importlib.import_module("dcss.verify.examine")


def _measure(target: SystemTarget, question: AccountQuestion) -> MeasureResult:
    from dcss.account.accounts import measure

    return measure(
        _with_counters(target, question),
        question.guest_counters,
        question.segment_users,
        free_before_bytes=question.free_before_bytes,
    )


def _with_counters(target: SystemTarget, question: AccountQuestion) -> SystemTarget:
    """Return the system with those guests that have sent their own counters."""
    return replace(target, guests=tuple(guest for guest in target.guests if guest.name in question.guest_counters))


def _with_unmeasured(result: MeasureResult, target: SystemTarget, limits: Iterable[str]) -> MeasureResult:
    """Add `limits`, and one for each guest that was not measured, since it has not sent its counters yet."""
    measured = {account.name for account in result.guests}
    missing = [guest.name for guest in target.guests if guest.name not in measured]
    added = [*limits, *(f"guest {name}: still in its `run:` list, and not measured" for name in missing)]
    return replace(result, limits=(*result.limits, *added)) if added else result
