"""An example as a process of its own, and what its first lines tell a reader to type."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.listening import listening, said
from tests.e2e.server import clean_environment, free_port
from tests.e2e.test_transcript import Step, masked

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVICE = "http://127.0.0.1:4000"
APPLICATION = "http://127.0.0.1:8000"
SHELL_SECONDS = 40
_COMMENT = re.compile(r"^// ?", re.MULTILINE)
_MARK = "--- end of step ---"


@contextmanager
def running(name: str, folder: Path, service: str, dotenv: str = "") -> Iterator[str]:
    """Run an example in a folder, as its first lines say; where it listens.

    :param service: where the service is, for the example's environment; empty where `.env` says it.
    :param dotenv: the content of `.env`.
    """
    port = free_port()
    environment = {**clean_environment(), "PORT": str(port)}
    if service:
        environment["AUTH_URL"] = service
    if dotenv:
        (folder / ".env").write_text(dotenv)
    path = EXAMPLES / name
    program = "node" if path.suffix == ".js" else sys.executable
    with listening([program, path], folder, port, environment=environment) as process:
        yield f"http://127.0.0.1:{port}"
        assert process.poll() is None, "it has ended by itself"
        assert "Traceback" not in said(folder)
    assert "Traceback" not in said(folder), said(folder)


def told(name: str) -> list[Step]:
    """The commands in an example's first lines, each with what is shown below it: `$ ` begins one."""
    text = (EXAMPLES / name).read_text("utf-8")
    text = _COMMENT.sub("", text) if name.endswith(".js") else text.split('"""')[1]
    found = []
    for part in re.split(r"^    \$ ", text, flags=re.MULTILINE)[1:]:
        block = part.split("\n\n")[0].splitlines()
        length = next(index for index, line in enumerate(block, 1) if not line.endswith("\\"))
        shown = [line for line in block[length:] if line.startswith("    ")]
        found.append(Step("\n".join(block[:length]), "\n".join(shown)))
    return found


def try_as_told(name: str, folder: Path, service: str, application: str) -> None:
    """Type every command of the example's first lines into one shell, and compare what it says."""
    expected = told(name)
    assert len(expected) >= 4
    places = ((SERVICE, service), (APPLICATION, application))
    script = "".join(f"{step.command}\necho; echo '{_MARK}'\n" for step in expected)
    for shown, actual in places:
        script = script.replace(shown, actual)
    command = ["bash", "--noprofile", "--norc", "-u"]
    ran = subprocess.run(
        command, input=script, cwd=folder, capture_output=True, text=True, timeout=SHELL_SECONDS, check=False
    )
    assert ran.stderr == ""
    said = ran.stdout
    for shown, actual in places:
        said = said.replace(actual, shown)
    for step, answer in zip(expected, said.split(_MARK)[:-1], strict=True):
        shown = "\n".join(line.strip() for line in step.shown.splitlines())
        assert masked(answer) == masked(shown), step.command
