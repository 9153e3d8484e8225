"""Becomes another program: `python -m tests.guard_adapters.program PATH ARGUMENTS`."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.execv(sys.argv[1], sys.argv[1:])
