"""Documents agree with the code, link to what exists, and name nothing that belongs to one machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from watchword.cli import audit_page, metrics_page
from watchword.cli.settings_page import page
from watchword.settings.table import SETTINGS

ROOT = Path(__file__).parents[2]
_SKIPPED = {".git", "node_modules", "watchword-data", "results"}
_TEST = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# An index to install from, or an address inside one; written so that this file does not hold one itself.
_REGISTRY = re.compile(
    r"(--(extra-)?index-url|files\.pythonhosted|pypi\." + r"org/simple|registry\.npmjs|\"resolved\":)"
)

# More may be added; none is renamed without a record in docs/decisions/.
KEPT = {
    "host": "127.0.0.1",
    "port": "4000",
    "public_url": "",
    "path_prefix": "",
    "data_dir": "./watchword-data",
    "database_url": "",
    "redis_url": "",
    "secret": "",
    "jwt_secret": "",
    "algorithm": "",
    "audience": "",
    "access_lifetime": "15m",
    "refresh_idle": "7d",
    "session_lifetime": "30d",
    "refresh_grace": "30s",
    "password_hash": "argon2id",
    "password_policy": "default",
    "login_limit": "10/15m",
    "login_address_limit": "100/15m",
    "login_account_limit": "100/15m",
    "register_limit": "20/1h",
    "registration": "open",
    "allowed_origins": "",
    "trusted_proxies": "",
    "password_grant": "on",
    "docs": "",
}


def documents() -> Iterator[Path]:
    for path in ROOT.rglob("*.md"):
        parts = path.relative_to(ROOT).parts
        if not (_SKIPPED & set(parts) or parts[0].startswith(".venv")):  # `make VENV=…`: there may be several
            yield path


def test_the_settings_page_is_the_table() -> None:
    """`docs/reference/settings.md` is what `make docs` writes."""
    assert (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8") == page(), "run: make docs"


def test_the_audit_page_is_the_table() -> None:
    """`docs/reference/audit.md` is what `make docs` writes."""
    assert (ROOT / "docs" / "reference" / "audit.md").read_text("utf-8") == audit_page.page(), "run: make docs"


def test_the_metrics_page_is_the_table() -> None:
    """`docs/reference/metrics.md` is what `make docs` writes."""
    assert (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8") == metrics_page.page(), "run: make docs"


def test_the_settings_keep_their_names_and_defaults() -> None:
    """No setting is renamed or changed by accident."""
    assert KEPT.items() <= {setting.name: setting.default for setting in SETTINGS}.items()


@pytest.mark.parametrize("path", list(documents()), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """A relative link names a file that exists."""
    for target in _LINK.findall(path.read_text("utf-8")):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            assert (path.parent / target.partition("#")[0]).exists(), target


def test_no_registry_is_named() -> None:
    """Where packages come from is the business of whoever installs them."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run"):
        assert not _REGISTRY.search((ROOT / name).read_text("utf-8")), name
        assert "://" not in (ROOT / name).read_text("utf-8"), name


def test_constraints_are_versions_only() -> None:
    """Each line pins one package; no path and no address."""
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line


def test_the_licence_is_complete() -> None:
    """Apache-2.0, from its title to the end of its appendix."""
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert text.lstrip().startswith("Apache License\n")
    assert "END OF TERMS AND CONDITIONS" in text
    assert text.rstrip().endswith("limitations under the License.")


def test_make_explains_itself() -> None:
    """`make` alone says what there is, and installs nothing."""
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "make serve" in done.stdout
    assert "make test" in done.stdout


def test_every_item_of_the_checklist_has_its_test() -> None:
    """`docs/security/checklist.md` names tests that exist, and says so of each item that is not built."""
    rows = re.findall(
        r"^\| ([A-J]-?\d.*?) \|.*\| (.+?) \|$", (ROOT / "docs/security/checklist.md").read_text("utf-8"), re.MULTILINE
    )
    there = {name for path in (ROOT / "tests").rglob("test_*.py") for name in _TEST.findall(path.read_text("utf-8"))}
    assert len(rows) > 90
    for item, shown_by in rows:
        named = re.findall(r"`(test_\w+)`", shown_by)
        assert named or shown_by.startswith("Not built"), item
        assert there.issuperset(named), (item, set(named) - there)


def test_code_and_documents_name_items_of_the_checklist_only() -> None:
    """An id such as A13 in a comment is one that a reader can look up."""
    known = set(
        re.findall(r"^\| ([A-J]-?\d+) \|", (ROOT / "docs/security/checklist.md").read_text("utf-8"), re.MULTILINE)
    )
    for path in (ROOT / "src").rglob("*.py"):
        for line in re.findall(r"(?:checklist |\()([A-J]-?\d{1,2}(?:, [A-J]-?\d{1,2})*)\b", path.read_text("utf-8")):
            assert known.issuperset(line.split(", ")), (path, line)


def test_code_names_pages_that_exist() -> None:
    """A page that a comment, a docstring or a message points to is in the repository."""
    named = {
        (path, name)
        for folder in ("src", "bench", "examples")
        for path in (ROOT / folder).rglob("*.py")
        if not _SKIPPED & set(path.relative_to(ROOT).parts)
        for name in re.findall(r"[\w/-]+\.md\b", path.read_text("utf-8"))
    }
    assert len(named) >= 5
    for path, name in named:
        assert (ROOT / name).exists() or (path.parent / name).exists(), (path, name)


def test_the_index_lists_every_page() -> None:
    """`docs/README.md` leads to each page; decisions are listed by their folder."""
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} - {"README.md"}
    listed = set(_LINK.findall((docs / "README.md").read_text("utf-8")))
    assert {page for page in pages if not page.startswith("decisions/")} == listed - {"decisions/"}


def test_the_glossary_uses_the_names_of_the_code() -> None:
    """Each class that the pages for developers name is one; each path there is a file."""
    pages = ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/reference/words.md")
    words = "".join((ROOT / page).read_text("utf-8") for page in pages).partition("## Where to begin")[2]
    sources = [path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py")]
    there = {name for source in sources for name in re.findall(r"^class (\w+)", source, re.MULTILINE)}
    named = set(re.findall(r"`([A-Z]\w*[a-z]\w*)`", words))
    assert len(named) >= 12
    assert named <= there, named - there
    for path in re.findall(r"`([a-z_/]+\.py)`", words):
        assert list((ROOT / "src/watchword").rglob(path)), path
