"""The collector of a serving process leaves what start-up has made alone, and still collects."""

from __future__ import annotations

import subprocess
import sys

_CODE = """
import gc, weakref
from watchword.cli.serving import garbage

class Knot:
    def __init__(self):
        self.itself = self

before = weakref.ref(Knot())
gc.disable(); late = weakref.ref(Knot()); gc.enable()
garbage.settle()
assert before() is None and late() is None, "start-up's garbage was kept"
assert gc.get_freeze_count() > 1000
assert gc.isenabled() and gc.get_threshold()[0] > 700

after = weakref.ref(Knot())
kept = [[] for _ in range(gc.get_threshold()[0] + 1000)]
assert after() is None, "nothing is collected any more"
"""


def test_what_start_up_made_is_left_alone_and_cycles_are_still_collected() -> None:
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
