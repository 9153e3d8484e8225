"""Install what `make dist` built into empty environments and try it: `python -m tests.packaging.try_dist dist`."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from tests.packaging.environments import empty_environment, run

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
ROUNDS = 5
# Milliseconds, modules, and the packages that are not Python's own.
_IMPORT = """
import sys, time
before, begin = set(sys.modules), time.perf_counter()
import {module}
took = (time.perf_counter() - begin) * 1000
loaded = set(sys.modules) - before
packages = {{name.partition(".")[0] for name in loaded}} - sys.stdlib_module_names
print(f"{{took:.1f}} {{len(loaded)}}", *sorted(name for name in packages if not name.startswith("_")))
"""


def install(folder: Path, requirement: str) -> Path:
    """Install a built file, with the versions of constraints.txt, into an environment of its own."""
    programs = empty_environment(folder)
    options = ["--quiet", "--disable-pip-version-check", "-c", str(CONSTRAINTS)]
    run(programs, "python", "-m", "pip", "install", *options, requirement, cwd=folder)
    return programs


def measure(programs: Path, module: str, folder: Path) -> str:
    """Say how long the import takes (median of five processes), how many modules it loads and of which packages."""
    code = _IMPORT.format(module=module)
    rounds = [run(programs, "python", "-I", "-c", code, cwd=folder).split() for _ in range(ROUNDS)]
    took = statistics.median(float(each[0]) for each in rounds)
    return f"import {module}: {took:.0f} ms, {rounds[0][1]} modules, of {', '.join(rounds[0][2:])}"


def main(dist: Path) -> None:
    """Try the guard and the service of the wheel, and the guard of the sdist."""
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        guard = install(folder / "guard", str(wheel))
        print(f"{wheel.name}: {measure(guard, 'watchword.guard', folder)}")
        server = install(folder / "server", f"{wheel}[server]")
        print(f"{wheel.name}[server]: {measure(server, 'watchword', folder)}")
        print(f"{wheel.name}[server]: watchword version: {run(server, 'watchword', 'version', cwd=folder).strip()}")
        source = install(folder / "sdist", str(sdist))
        print(f"{sdist.name}: {measure(source, 'watchword.guard', folder)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
