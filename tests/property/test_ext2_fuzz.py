"""A seeded part of the fuzzing, and a corpus: one case of each kind of damage, and what fuzzing found."""

import subprocess
import sys
from pathlib import Path

import pytest
from ext2_support import read_everything
from fuzz_support import BASES, EXPECTED, SECONDS_PER_CASE, Damage, Recipe, damaged, exercise, run, sound, time_limit

from dcss.ext2.source import BufferSource

TESTS = Path(__file__).parent.parent
CORPUS = sorted((TESTS / "corpus" / "ext2").glob("*.json"))


@pytest.mark.parametrize("base", BASES)
def test_the_sound_images_are_sound(base: str) -> None:
    source = BufferSource(sound(base).data)
    assert len(dict(read_everything(source).walk())) == 54
    exercise(source)


def test_a_thousand_damaged_images() -> None:
    damage = Damage(seed=1)
    for number in range(1000):
        run(damage.recipe(number))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_corpus(path: Path) -> None:
    recipe = Recipe.load(path)
    run(recipe)
    if recipe.wanted:
        with pytest.raises(EXPECTED) as caught, time_limit(SECONDS_PER_CASE):
            read_everything(damaged(recipe))
        assert recipe.wanted in str(caught.value)


def test_recipes_are_the_same_every_time(tmp_path: Path) -> None:
    recipe = Damage(seed=3).recipe(14)
    assert recipe.edits
    assert Damage(seed=3).recipe(14) == recipe
    recipe.save(tmp_path / "case.json")
    assert Recipe.load(tmp_path / "case.json") == recipe


def test_a_fault_is_found_kept_and_made_small(tmp_path: Path) -> None:
    # The reader raises what no caller expects where it meets an indirect block for the second time.
    broken = (
        "import runpy, sys, dcss.ext2.indirect as indirect\n"
        "def enter(self, block):\n"
        "    if block in self._seen: raise KeyError(block)\n"
        "    self._seen.add(block)\n"
        "indirect._Map._enter = enter\n"
        f"sys.argv = ['fuzz', '--cases', '250', '--seed', '2', '--keep', {str(tmp_path)!r}]\n"
        "sys.path.insert(0, 'support')\n"
        "runpy.run_path('fuzz_ext2.py', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", broken], cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    kept = sorted(tmp_path.glob("*.json"))
    assert kept
    assert all(len(Recipe.load(path).edits) <= 2 for path in kept)


@pytest.mark.slow
def test_the_fuzzer_under_its_limits() -> None:
    done = subprocess.run(
        [sys.executable, TESTS / "fuzz_ext2.py", "--cases", "10000", "--seed", "4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10000 cases, 0 faults" in done.stdout
    assert int(done.stdout.split()[-2]) < 200_000


def test_the_time_limit_rings() -> None:
    with pytest.raises(Exception, match=r"more than 0\.01 s"), time_limit(0.01):
        while True:
            pass
