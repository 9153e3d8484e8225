"""Reads our Dockerfile strictly, and makes of it what can be run without Docker."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

KNOWN = frozenset(
    {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "VOLUME", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"}
)


class Instruction(NamedTuple):
    """One instruction: its name, its `--flags`, and the rest."""

    name: str
    flags: dict[str, str]
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest, as a shell would split it."""
        return shlex.split(self.rest)


@dataclass
class Stage:
    """What stands between one FROM and the next."""

    image: str
    name: str
    steps: list[Instruction] = field(default_factory=list)

    def only(self, name: str) -> Instruction:
        """The stage's only instruction of a name."""
        (found,) = [step for step in self.steps if step.name == name]
        return found

    @property
    def environment(self) -> dict[str, str]:
        """All that ENV says."""
        pairs = [word.split("=", 1) for step in self.steps if step.name == "ENV" for word in step.words]
        return dict(pairs)


def read(text: str) -> list[Stage]:
    """The stages. An instruction that is not among `KNOWN` fails, as does a line that is none."""
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    stages: list[Stage] = []
    for line in re.sub(r"\\\n", " ", plain).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        assert name in KNOWN, line
        flags = {}
        while found := re.match(r"\s*--([a-z-]+)=(\S+)\s*", rest):
            flags[found[1]], rest = found[2], rest[found.end() :]
        if name == "FROM":
            image, *more = rest.split()
            assert more in ([], ["AS", more[-1] if more else ""]), line
            stages.append(Stage(image, more[-1] if more else ""))
        else:
            stages[-1].steps.append(Instruction(name, flags, rest.strip()))
    return stages


def command(step: Instruction) -> list[str]:
    """The words of CMD or of the command of HEALTHCHECK, in the form that starts no shell."""
    words = json.loads(step.rest.removeprefix("CMD").strip())
    assert isinstance(words, list)
    assert all(isinstance(word, str) for word in words)
    return words


def context(root: Path) -> list[str]:
    """The files and folders at the top of the checkout that .dockerignore lets into the build."""
    lines = [line for line in (root / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    let: set[str] = set()
    for line in lines:
        for entry in (each.name for each in root.iterdir()):
            if fnmatch(entry, line.removeprefix("!")):
                let = let | {entry} if line.startswith("!") else let - {entry}
    return sorted(let)


def build_script(stages: list[Stage], source: Path) -> str:
    """A shell script that does what `docker build` does, with `source` as the build's context.

    It runs as root where /opt and /var/lib may be written. What the next stage does not copy is removed.
    """
    build, final = stages
    lines = ["set -eu", "umask 022"]
    for stage in (build, final):
        for step in stage.steps:
            if step.name == "WORKDIR":
                lines.append(f"mkdir -p {step.rest}; cd {step.rest}")
            elif step.name == "RUN":
                lines.append(f"( set -e; {step.rest}\n)")
            elif step.name == "COPY" and not step.flags:
                *files, target = step.words
                lines += [f"mkdir -p {target}", *(_copied(source, name, target) for name in files)]
        if stage is build:
            kept = [step.words for step in final.steps if step.name == "COPY"]
            assert all(one == other and one.startswith("/opt/") for one, other in kept)
            names = " ".join(f"! -path {one}" for one, _ in kept)
            lines.append(f"cd /; find /opt -mindepth 1 -maxdepth 1 {names} -exec rm -r {{}} +")
    return "\n".join(lines) + "\n"


def _copied(source: Path, name: str, target: str) -> str:
    assert name in context(source), f".dockerignore keeps {name} out"
    place = source / name
    return f"cp -r {shlex.quote(str(place))}{'/.' if place.is_dir() else ''} {target}"
