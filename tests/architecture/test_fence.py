"""The house as it stands keeps its rules, and each rule can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.architecture import fence

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / fence.PACKAGE

Check = Callable[[Path], Iterator[str]]

CHECKS: tuple[Check, ...] = (
    fence.one_way,
    fence.no_circles,
    fence.features_apart,
    fence.rules_without_http,
    fence.libraries_in_their_place,
    fence.no_drawers,
    fence.short_files,
    fence.one_clock,
    fence.systems_in_one_place,
    fence.statuses_in_tables,
    fence.constant_time,
    fence.published_by_the_commit,
    fence.checks_are_required,
)

# Check, a file that breaks it, what is said about it.
BROKEN: tuple[tuple[Check, str, str, str], ...] = (
    (fence.one_way, "tokens/sign.py", "from watchword.storage import sqlite", "tokens may not import storage"),
    (fence.one_way, "tokens/sign.py", "import watchword.clock", "tokens may not import clock"),
    (fence.one_way, "identity/users.py", "from watchword.web.route import Route", "identity may not import web.route"),
    (fence.one_way, "storage/a.py", "def f():\n    from watchword import identity", "storage may not import identity"),
    (
        fence.one_way,
        "web/a.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from watchword.features.accounts import routes",
        "web may not import features.accounts",
    ),
    (fence.one_way, "guard/a.py", "import watchword.storage.sqlite", "guard may not import storage.sqlite"),
    (fence.one_way, "web/a.py", "from . import problems", "web may not import relative import"),
    (fence.one_way, "surprise/a.py", "", "surprise is not in the table"),
    (fence.features_apart, "features/a/routes.py", "from watchword.features.b import service", "imports feature b"),
    (fence.features_apart, "features/a/routes.py", "from watchword.features import b\n", "imports feature b"),
    (fence.rules_without_http, "features/a/service.py", "from watchword.web.route import Reply", "knows HTTP"),
    (fence.rules_without_http, "features/a/service.py", "import starlette.requests", "knows HTTP"),
    (fence.rules_without_http, "identity/a.py", "from http import HTTPStatus", "knows HTTP"),
    (fence.libraries_in_their_place, "identity/a.py", "import sqlite3", "sqlite3 may be imported in storage only"),
    (fence.libraries_in_their_place, "identity/a.py", "import typer", "typer may be imported in cli only"),
    (fence.libraries_in_their_place, "identity/users.py", "from cryptography import x509", "cryptography may be"),
    (fence.libraries_in_their_place, "web/a.py", "import requests", "requests may be imported in no module"),
    (fence.no_drawers, "web/utils.py", "", "says nothing"),
    (fence.no_drawers, "web/helpers/cookies.py", "", "says nothing"),
    (fence.no_drawers, "web/a.py", "class SessionManager: ...", "class SessionManager says nothing"),
    (
        fence.published_by_the_commit,
        "features/a/service.py",
        "from watchword.identity import revocation\nasync def unit(tx): await revocation._publish(tx, [])",
        "publishes by itself",
    ),
    (fence.published_by_the_commit, "identity/a.py", "from watchword.identity.revocation import _publish", "by itself"),
    (fence.published_by_the_commit, "identity/a.py", "x = 'INSERT INTO ww_revocations (seq)'", "publishes by itself"),
    (fence.published_by_the_commit, "identity/a.py", "x = 'update ww_feed set head = 0'", "publishes by itself"),
    (fence.checks_are_required, "identity/a.py", "async def f(user, *, check=None): ...", "a default for check"),
    (fence.checks_are_required, "identity/a.py", "def f(a, check: Unit = unchecked, b=1): ...", "a default for check"),
    (fence.short_files, "web/a.py", "\n" * 401, "longer than 400"),
    (fence.one_clock, "web/a.py", "import time\nx = time.time()", "reads the time: time.time"),
    (fence.one_clock, "web/a.py", "from time import monotonic", "reads the time: monotonic"),
    (fence.one_clock, "web/a.py", "import datetime\nx = datetime.datetime.now()", "reads the time"),
    (fence.systems_in_one_place, "web/a.py", "import os\nx = os.getuid()", "not on every system: os.getuid"),
    (fence.systems_in_one_place, "web/a.py", "def f():\n    import fcntl", "not on every system: fcntl"),
    (fence.systems_in_one_place, "web/a.py", "from signal import SIGHUP", "not on every system: signal.SIGHUP"),
    (fence.systems_in_one_place, "web/a.py", "x = path.stat().st_mode & 7", "path.stat().st_mode"),
    (fence.systems_in_one_place, "web/a.py", "loop.add_signal_handler(15, f)", "loop.add_signal_handler"),
    (fence.systems_in_one_place, "web/a.py", "import sys\nx = sys.platform == 'linux'", "sys.platform"),
    (fence.statuses_in_tables, "web/a.py", "x = Reply(None, status=404)", "status 404"),
    (fence.statuses_in_tables, "features/a/service.py", "x = error.status == 409", "status 409"),
    (fence.statuses_in_tables, "guard/a.py", "T = {'token_missing': Row(401, 'Missing')}", "second table of statuses"),
    (fence.statuses_in_tables, "web/a.py", "T: D = {'not_found': (404, 'Not found')}", "second table of statuses"),
    (fence.statuses_in_tables, "guard/a.py", "T = {'overloaded': 503, 'other': x}", "second table of statuses"),
    (fence.statuses_in_tables, "guard/a.py", "T = {'forbidden': HTTPStatus.FORBIDDEN}", "second table of statuses"),
    (fence.statuses_in_tables, "web/problem_table.py", "T = {'forbidden': Row(403, 'No')}", "second table of statuses"),
    (fence.constant_time, "opaque.py", "x = mac == expected", "use hmac.compare_digest: mac == expected"),
    (fence.constant_time, "opaque.py", "x = a.digest != b", "use hmac.compare_digest"),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_keeps_its_rules(check: Check) -> None:
    """Nothing under src breaks the rule."""
    assert list(check(SOURCE)) == []


@pytest.mark.parametrize(("check", "name", "text", "said"), BROKEN)
def test_every_rule_can_fail(tmp_path: Path, check: Check, name: str, text: str, said: str) -> None:
    """A small tree that breaks the rule is reported, once, with what is wrong."""
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    (found,) = check(tmp_path)
    assert said in found


def test_a_circle_is_reported(tmp_path: Path) -> None:
    """Also where one of its imports is late."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web/a.py").write_text("from watchword.web.b import f")
    (tmp_path / "web/b.py").write_text("from watchword.web import c")
    assert list(fence.no_circles(tmp_path)) == []
    (tmp_path / "web/c.py").write_text("def f():\n    from watchword.web.a import f")
    (found,) = fence.no_circles(tmp_path)
    assert "web.a → web.b → web.c" in found or "web.b → web.c → web.a" in found or "web.c → web.a → web.b" in found


def test_a_clean_tree_breaks_nothing(tmp_path: Path) -> None:
    """What is allowed is not reported: imports downward, one's own feature, statuses in tables."""
    clean = {
        "__init__.py": "__version__ = '1'",
        "clock.py": "import time\nx = time.time()",
        "identity/users.py": "from watchword.storage.database import Tx\nfrom watchword import errors",
        "features/a/routes.py": "from watchword.features.a import service\nx = Reply(None, status=404)",
        "web/a.py": "from watchword import __version__\nimport hmac\nx = hmac.compare_digest(mac, b)",
        "opaque.py": "x = len(mac) == 3",
        "problem_table.py": "PROBLEMS = {'token_missing': Problem(401, 'Access token missing')}",
    }
    for name, text in clean.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [found for check in CHECKS for found in check(tmp_path)] == []


def test_the_table_runs_one_way() -> None:
    """The table itself has no cycle: each part may import only parts that stand above it."""
    above: set[str] = set()
    for part, allowed in fence.MAY_IMPORT.items():
        assert allowed <= above, part
        above.add(part)


def test_one_name_in_three_trees() -> None:
    """Each feature has its code, its tests and its page under the same name."""
    assert list(fence.three_trees(ROOT)) == []


@pytest.mark.parametrize(
    "missing", ["src/watchword/features/a/__init__.py", "tests/features/a/x", "docs/features/a.md"]
)
def test_a_missing_tree_is_reported(tmp_path: Path, missing: str) -> None:
    """A feature without tests, without a page, or a page about nothing."""
    places = ("src/watchword/features/a/__init__.py", "tests/features/a/x", "docs/features/a.md")
    for folder in ("src/watchword/features", "tests/features", "docs/features"):
        (tmp_path / folder).mkdir(parents=True)
    for place in places:
        if place != missing:
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).touch()
    (found,) = fence.three_trees(tmp_path)
    assert "a is missing" in found
