"""What a serving process does not load."""

from __future__ import annotations

import subprocess
import sys

_CODE = """
import sys
from watchword.cli.serving import start
print([name for name in ("rich", "typer", "jinja2", "asyncpg", "redis") if name in sys.modules])
import rich.table, structlog
print(structlog.dev.ConsoleRenderer is not None and rich.table.Table.__name__)
"""


def test_a_serving_process_loads_no_terminal_and_no_driver_that_it_may_not_use() -> None:
    """What is loaded costs each worker of each start; rich can be loaded later all the same."""
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=120, check=True)
    print(done.stdout)
    assert done.stdout.splitlines() == ["[]", "Table"]
