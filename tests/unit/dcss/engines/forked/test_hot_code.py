"""Code that guests call is put together in memory: what a fork calls there copies fewer of its pages."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import gc, sys
sys.path.insert(0, sys.argv[1])
from dcss.engines.forked.hot_code import gathered, note_functions

# A module as others are: of many functions few are called, and these lie far from each other.
text = "def f{0}(n):\\n parts = [n + {0} for n in range(n)]\\n" + " n += len(parts)\\n" * 40 + " return n\\n"
module = {}
exec("\\n".join(text.format(number) for number in range(2000)), module)
called = [module[f"f{number}"] for number in range(0, 2000, 40)]
alias = called[0]

def pages():
    codes = [function.__code__ for function in called]
    codes += [const for code in codes for const in code.co_consts if type(const) is type(code)]
    return len({id(code) // 4096 for code in codes})

def make():
    made = eval("lambda n: n + 1")
    return made(1)

before = [function(3) for function in called], pages()
note_functions()
gc.freeze()
uncalled = module["f1"].__code__
with gathered():
    during = [function(3) for function in called]
    make()
first = [function.__code__ for function in called]
with gathered():
    assert called[1](3) == before[0][1]
assert sys.getprofile() is None
assert before[0] == during == [function(3) for function in called]
assert module["f1"].__code__ is uncalled
assert alias is module["f0"]
assert called[1].__code__ is not first[1]  # it was noted which function has the copy
assert called[2].__code__ is first[2]
print(before[1], pages())
"""


def test_code_that_is_called_lies_together_and_does_what_it_did() -> None:
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(Path(__file__).parents[5])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    before, after = map(int, done.stdout.split())
    assert before >= 100  # 50 functions, each with a list comprehension of its own
    assert after < before * 0.7
