"""What takes CP long, in steps: its state changes in its one thread, and what only copies may run beside that."""

from collections.abc import Callable, Generator
from typing import TypeVar

Work = Callable[[], object]  # copies and syncs files, and touches nothing of CP's state
Answer = TypeVar("Answer")

# Yields work that is to be done before the next step, or None: it is another's turn, go on when one of those has ended.
# What the work raises is raised where it was yielded. A caller that gives up closes the generator, once no work runs.
Steps = Generator[Work | None, None, Answer]


def run_to_completion(steps: Steps[Answer]) -> Answer:
    """Do all the steps here and now, and return their answer. Raises what they raise."""
    try:
        work = next(steps)
        while True:
            if work is None:
                raise RuntimeError("another's turn: done at once while steps are under way elsewhere")
            try:
                work()
            except BaseException as error:
                work = steps.throw(error)
            else:
                work = next(steps)
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    finally:
        steps.close()
