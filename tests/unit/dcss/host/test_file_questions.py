"""The process that asks file systems: a busy machine, on which it starts late and gets no processor, is no silence."""

from pathlib import Path

import pytest

from dcss.host import file_answers, file_questions
from dcss.host.file_questions import FileQuestions, NoAnswerError

ANSWERS = Path(file_answers.__file__).read_text("utf-8")
SPINS = "    while time.process_time() < 0.3: pass\n"
SLEEPS = "    time.sleep(60)\n"


def asking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, before: str, in_answer: str = "") -> None:
    """Have the process do something before it is ready, or before each answer; the limit of an answer is short."""
    program = tmp_path / "answers.py"
    text = ANSWERS.replace('    channel.send(b"ready")\n', f'{before}    channel.send(b"ready")\n')
    mark = "    status, file_system = "
    program.write_text("import time\n" + text.replace(mark, in_answer + mark))
    monkeypatch.setattr(file_questions, "_PROGRAM", program)
    monkeypatch.setattr(file_questions, "ANSWER_SECONDS", 0.05)


@pytest.mark.parametrize(("before", "in_answer"), [("    time.sleep(0.5)\n", ""), ("", SPINS)], ids=["start", "turn"])
def test_what_takes_its_time_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str, in_answer: str
) -> None:
    asking(monkeypatch, tmp_path, before=before, in_answer=in_answer)
    with FileQuestions() as questions:
        assert questions.status(str(tmp_path)).inode == tmp_path.stat().st_ino


def test_what_waits_is_silent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asking(monkeypatch, tmp_path, before="", in_answer=SLEEPS)
    with FileQuestions() as questions, pytest.raises(NoAnswerError, match=r"does not answer within 0\.05 s"):
        questions.status(str(tmp_path))


@pytest.mark.parametrize("before", [SLEEPS, "    return\n"], ids=["hangs", "ends"])
def test_what_never_is_ready_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str) -> None:
    asking(monkeypatch, tmp_path, before=before)
    monkeypatch.setattr(file_questions, "_START_SECONDS", 0.2)
    with FileQuestions() as questions, pytest.raises(NoAnswerError, match="was not ready within"):
        questions.status(str(tmp_path))
