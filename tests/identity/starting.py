"""Real processes that all start at the same moment: each prepares, waits for the word, and then does its work."""

from __future__ import annotations

import subprocess
import sys


def at_once(program: str, *arguments: str, processes: int) -> list[str]:
    """Run `program` in several processes; what each printed last. It must call `ready()` before what is raced for."""
    prelude = "import sys\ndef ready():\n    print('ready', flush=True)\n    sys.stdin.readline()\n"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", prelude + program, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(processes)
    ]  # fmt: skip
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=250) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert [process.returncode for process in started] == [0] * processes, outputs
    return [out.strip() for out, _ in outputs]
