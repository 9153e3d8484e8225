"""The rules of the house as functions of a source tree: each yields what breaks it, as `path:line what`.

They read the code with `ast` and run none of it. Imports under `TYPE_CHECKING` and inside functions count.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Container, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

PACKAGE = "watchword"

# Part → what it may import. Read it from the top: each line may use lines above it, never below.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "watchword": frozenset(),
    "errors": frozenset(),
    "problem_table": frozenset(),
    "base64url": frozenset(),
    "strict_json": frozenset(),
    "authorization": frozenset({"errors"}),
    "hosts": frozenset(),
    "browsers": frozenset({"errors", "hosts"}),
    "clock": frozenset(),
    "ids": frozenset(),
    "addresses": frozenset(),
    "public_addresses": frozenset(),
    "opaque": frozenset({"base64url"}),
    "platforms": frozenset(),
    "known_secrets": frozenset({"errors"}),
    "claim_names": frozenset(),
    "api_keys": frozenset({"base64url", "clock", "strict_json"}),
    "settings": frozenset({"base64url", "claim_names", "errors", "hosts", "platforms", "known_secrets"}),
    "tokens": frozenset({"base64url", "errors", "strict_json", "known_secrets"}),
    "threads": frozenset({"clock"}),
    "tally": frozenset({"clock"}),
    "rate": frozenset(),
    "meters": frozenset(),
    "tracing": frozenset(),
    "languages": frozenset(),
    "sandbox": frozenset({"languages"}),
    "storage": frozenset({"errors", "clock", "ids", "meters", "platforms", "settings", "tally", "threads", "tracing"}),
    "mail": frozenset({"errors", "hosts", "settings", "languages", "sandbox"}),
    "webhooks": frozenset({"hosts", "public_addresses", "settings", "threads"}),
    "identity": frozenset(
        {
            "addresses",
            "api_keys",
            "errors",
            "base64url",
            "claim_names",
            "strict_json",
            "clock",
            "ids",
            "meters",
            "opaque",
            "platforms",
            "rate",
            "settings",
            "threads",
            "tally",
            "tokens",
            "tracing",
            "storage",
            "languages",
            "mail",
            "webhooks",
        }
    ),
    "web": frozenset(
        {
            "addresses",
            "watchword",
            "errors",
            "problem_table",
            "authorization",
            "browsers",
            "hosts",
            "strict_json",
            "clock",
            "ids",
            "meters",
            "opaque",
            "platforms",
            "settings",
            "tally",
            "tokens",
            "tracing",
            "languages",
            "sandbox",
            "identity",
        }
    ),
    "features": frozenset(
        {
            "api_keys",
            "errors",
            "base64url",
            "authorization",
            "browsers",
            "hosts",
            "clock",
            "ids",
            "meters",
            "opaque",
            "settings",
            "tokens",
            "storage",
            "identity",
            "languages",
            "web",
        }
    ),
    "pages": frozenset(
        {"errors", "base64url", "browsers", "clock", "settings", "tokens", "languages", "identity", "web", "features"}
    ),
    "opening": frozenset(
        {"errors", "clock", "meters", "tracing", "settings", "tokens", "storage", "mail", "webhooks", "identity"}
    ),
    "background": frozenset({"clock", "meters", "tally", "storage", "identity"}),
    "observing": frozenset({"errors", "clock", "meters", "tally", "tracing"}),
    "app": frozenset(
        {
            "watchword",
            "errors",
            "clock",
            "meters",
            "tracing",
            "settings",
            "tokens",
            "identity",
            "web",
            "features",
            "pages",
            "opening",
            "background",
            "observing",
        }
    ),
    "cli": frozenset(
        {
            "watchword",
            "errors",
            "base64url",
            "clock",
            "hosts",
            "ids",
            "known_secrets",
            "platforms",
            "settings",
            "tokens",
            "storage",
            "identity",
            "web",
            "features",
            "mail",
            "opening",
            "observing",
            "meters",
            "app",
        }
    ),
    # On the side: an API that imports the guard pays for no driver and no server.
    "guard": frozenset(
        {
            "addresses",
            "api_keys",
            "watchword",
            "errors",
            "problem_table",
            "authorization",
            "claim_names",
            "browsers",
            "hosts",
            "strict_json",
            "clock",
            "platforms",
            "public_addresses",
            "rate",
            "tokens",
        }
    ),
    "testing": frozenset({"watchword", "errors", "claim_names", "clock", "tokens", "guard"}),
}

# The package's face gives out names of the service, which it loads when they are first asked for.
FACE = frozenset({"app", "settings"})

# Everything that is not ours and not plain standard library → the modules that may import it.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "aiohttp": ("guard.aiohttp",),
    "aiosmtplib": ("mail.sending",),
    "argon2": ("identity.hashing", "identity.old_hashes"),
    "asgiref": ("guard.django",),
    "asyncpg": ("storage.postgres_hosts",),
    "bcrypt": ("identity.hashing", "identity.hash_costs", "identity.old_hashes"),
    # Outside tokens: sealing, and the doctor's forgeries, which misuse a public key as a careless verifier would.
    # And API keys, which their holders weaken by signatures.
    "cryptography": ("tokens", "api_keys", "identity.keys.master", "cli.doctor.forged"),
    "dotenv": ("settings",),
    "email_validator": ("identity.identifiers",),
    "fastapi": ("guard.fastapi", "guard.fastapi_routers", "guard.fastapi_slips"),
    "flask": ("guard.flask",),
    "grpc": ("guard.grpc",),
    "django": ("guard.django", "guard.drf", "guard.caller_user", "guard.django_views", "guard.ninja"),
    "drf_spectacular": ("guard.spectacular",),
    "litestar": ("guard.litestar",),
    "httptools": ("web.protocol",),
    "jinja2": ("mail.templates", "sandbox", "web.pages"),
    "ninja": ("guard.ninja",),
    "msgspec": ("strict_json", "api_keys", "tokens", "identity", "web", "features", "pages", "cli", "guard"),
    "opentelemetry": ("observing.opentelemetry",),
    "prometheus_client": ("observing.prometheus",),
    "pydantic": ("guard.fastapi",),
    "pytest": ("testing",),
    "quart": ("guard.quart",),
    "rest_framework": ("guard.drf",),
    "redis": ("storage.valkey", "storage.valkey_hints"),
    "rich": ("cli",),
    "sqlite3": ("storage",),
    "starlette": ("web", "app", "cli.serving", "guard.asgi", "guard.fastapi", "guard.starlette"),
    "structlog": ("tally", "identity", "web", "features", "app", "cli.serving"),
    "swagger_ui": ("web.docs",),
    "typer": ("cli",),
    "uvicorn": ("web.protocol", "web.together", "cli.serving"),
    "werkzeug": ("guard.blueprints",),
}

DRAWERS = frozenset(
    {"util", "utils", "helper", "helpers", "common", "base", "core", "manager", "managers", "misc", "shared", "lib"}
)
LONGEST_FILE = 400

_READERS = frozenset({"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "gmtime"})
_DATES = frozenset({"now", "utcnow", "today"})
# ids.py: an id is a name, and nothing is ever decided by the time inside it.
MAY_READ_TIME = ("clock.py", "ids.py")

# What one operating system or another lacks, or has and means nothing by (`st_mode` on Windows).
_NOT_EVERYWHERE: dict[str, frozenset[str] | None] = {
    "os": frozenset(
        {
            "O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_SYNC", "O_DSYNC", "O_TMPFILE", "WNOHANG", "chown",
            "chroot", "copy_file_range", "eventfd", "fchdir", "fchmod", "fchown", "fdatasync", "fork", "forkpty",
            "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getpgrp", "getsid", "getuid",
            "initgroups", "killpg", "lchown", "lockf", "memfd_create", "mkfifo", "mknod", "nice", "openpty",
            "pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate", "posix_spawn", "pread", "preadv", "pwrite",
            "register_at_fork", "sched_getaffinity", "sched_setaffinity", "sched_yield", "sendfile", "setgid",
            "setpgid", "setpriority", "setsid", "setuid", "splice", "statvfs", "fstatvfs", "sync", "sysconf", "uname",
            "wait3", "wait4",
        }
    ),
    "socket": frozenset({"AF_UNIX", "SO_REUSEPORT", "SO_EXCLUSIVEADDRUSE", "SO_PEERCRED", "TCP_DEFER_ACCEPT",
                         "TCP_FASTOPEN", "TCP_QUICKACK", "TCP_USER_TIMEOUT", "socketpair", "sethostname"}),
    "signal": frozenset({"SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGALRM", "SIGPIPE",
                         "SIGTTIN", "SIGTTOU", "SIGTSTP", "SIGSTOP", "SIGCONT", "SIGWINCH", "SIGBREAK", "alarm",
                         "setitimer", "pause", "pthread_sigmask", "sigwait", "siginterrupt"}),
    "select": frozenset({"epoll", "poll", "kqueue", "devpoll"}),
    "time": frozenset({"clock_gettime", "clock_gettime_ns", "tzset", "pthread_getcpuclockid", "CLOCK_MONOTONIC",
                       "CLOCK_BOOTTIME", "CLOCK_REALTIME"}),
    "loop": frozenset({"add_signal_handler", "remove_signal_handler", "add_reader", "add_writer",
                       "create_unix_server", "create_unix_connection"}),
    **dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "uvloop", "msvcrt",
                     "winreg", "_winapi", "spwd", "crypt"), None),
}  # fmt: skip
_ON_ANY_OBJECT = _NOT_EVERYWHERE["loop"] | {"st_mode", "st_uid", "st_gid", "fork_exec"}  # type: ignore[operator]
_PLATFORMS = "platforms.py"
# What these two decide is about modes and owners, and only where files have them.
_ABOUT_MODES = ("settings/private_files.py", "settings/secret_files.py")

_STATUS = frozenset(
    {400, 401, 403, 404, 405, 406, 408, 409, 410, 413, 414, 415, 422, 423, 425, 428, 429, 431, 500, 503}
)
_STATUS_FILES = re.compile(r"problem_table\.py|features/[a-z_]+/routes\.py")
_PUBLISHES = re.compile(r"INSERT\s+INTO\s+ww_revocations|UPDATE\s+ww_feed\s+SET\s+head", re.IGNORECASE)
_SECRET_NAME = re.compile(r"(^|_)(mac|macs|hmac|digest|signature|password|secret|refresh_token)$")


class Import(NamedTuple):
    """One import: who, what (dotted, without our package's name if ours), where."""

    module: str
    target: str
    ours: bool
    line: int


def modules(tree: Path) -> Iterator[tuple[str, Path, ast.Module]]:
    """Every module under `tree`, the folder of our package: dotted name within it, path, syntax tree."""
    for path in sorted(tree.rglob("*.py")):
        parts = path.relative_to(tree).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__") or PACKAGE
        yield name, path, ast.parse(path.read_text("utf-8"), str(path))


def imports(module: str, path: Path, syntax: ast.Module) -> Iterator[Import]:
    """Every import of a module, wherever it stands in it."""
    for node in ast.walk(syntax):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield Import(module, f"relative import in {path.name}", True, node.lineno)
            elif (node.module or "").partition(".")[0] == PACKAGE:
                for alias in node.names:  # `from watchword.features import accounts` names a module, not a value
                    yield _import(module, f"{node.module}.{alias.name}", node.lineno)
            else:
                yield _import(module, node.module or "", node.lineno)


def _import(module: str, target: str, line: int) -> Import:
    top, _, rest = target.partition(".")
    if top != PACKAGE:
        return Import(module, target, False, line)
    # `from watchword import __version__` asks the package itself for a name.
    return Import(module, PACKAGE if not rest or rest.startswith("_") else rest, True, line)


def one_way(tree: Path) -> Iterator[str]:
    """Imports between our own parts run one way."""
    for name, path, syntax in modules(tree):
        part = _part(name)
        if part not in MAY_IMPORT:
            yield f"{path}:1 the part {part} is not in the table"
            continue
        allowed = FACE if part == PACKAGE else MAY_IMPORT[part]
        for found in imports(name, path, syntax):
            target = _part(found.target)
            if found.ours and target != part and target not in allowed:
                yield f"{path}:{found.line} {part} may not import {found.target}"


def no_circles(tree: Path) -> Iterator[str]:
    """No module imports itself by way of others, late imports and those for types included."""
    found = {name: (path, list(imports(name, path, syntax))) for name, path, syntax in modules(tree)}
    graph = {
        name: {_module(each.target, found) for each in all_of if each.ours and name != PACKAGE} - {name}
        for name, (_, all_of) in found.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
        yield f"{found[circle[0]][0]}:1 imports run in a circle: {' → '.join(reversed(circle))}"


def _module(target: str, known: Container[str]) -> str:
    """Return the module that an import reads: `a.b` for the name `c` in `from watchword.a.b import c`."""
    return target if target in known else target.rpartition(".")[0] or target


def features_apart(tree: Path) -> Iterator[str]:
    """A feature never imports another feature."""
    for name, path, syntax in modules(tree):
        if not name.startswith("features."):
            continue
        for found in imports(name, path, syntax):
            other = _feature(found.target)
            if found.ours and other is not None and other != _feature(name):
                yield f"{path}:{found.line} feature {_feature(name)} imports feature {other}"


def rules_without_http(tree: Path) -> Iterator[str]:
    """The rules of a feature (`service.py`) and the kernel know no HTTP."""
    for name, path, syntax in modules(tree):
        if not (name.startswith("identity") or (name.startswith("features.") and name.endswith(".service"))):
            continue
        for found in imports(name, path, syntax):
            if (found.ours and _part(found.target) == "web") or found.target.partition(".")[0] in {"starlette", "http"}:
                yield f"{path}:{found.line} knows HTTP: {found.target}"


def libraries_in_their_place(tree: Path) -> Iterator[str]:
    """Frameworks and drivers are imported only where the table says."""
    for name, path, syntax in modules(tree):
        for found in imports(name, path, syntax):
            top = found.target.partition(".")[0]
            if found.ours or (top in sys.stdlib_module_names and top not in LIBRARIES):
                continue
            places = LIBRARIES.get(top, ())
            if not any(name == place or name.startswith(place + ".") for place in places):
                yield f"{path}:{found.line} {top} may be imported in {', '.join(places) or 'no module'} only"


def no_drawers(tree: Path) -> Iterator[str]:
    """No module, package or class is named after nothing in particular."""
    for name, path, syntax in modules(tree):
        if DRAWERS & set(name.split(".")):
            yield f"{path}:1 says nothing about what is inside"
        for node in ast.walk(syntax):
            if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helper|Utils?|Base|Mixin)$", node.name):
                yield f"{path}:{node.lineno} class {node.name} says nothing about what it does"


def short_files(tree: Path) -> Iterator[str]:
    """Files stay within 400 lines."""
    for path in sorted(tree.rglob("*.py")):
        lines = len(path.read_text("utf-8").splitlines())
        if lines > LONGEST_FILE:
            yield f"{path}:{lines} longer than {LONGEST_FILE} lines"


def one_clock(tree: Path) -> Iterator[str]:
    """Only the clock reads the time."""
    for _, path, syntax in modules(tree):
        if path.relative_to(tree).as_posix() in MAY_READ_TIME:
            continue
        for node in ast.walk(syntax):
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                taken = {alias.name for alias in node.names} & _READERS
            elif isinstance(node, ast.Attribute):
                taken = _time_read(node)
            else:
                continue
            if taken:
                yield f"{path}:{node.lineno} reads the time: {', '.join(sorted(taken))}"


def _time_read(node: ast.Attribute) -> set[str]:
    owner = ast.unparse(node.value)
    if (owner == "time" and node.attr in _READERS) or (
        owner.rpartition(".")[2] in {"datetime", "date"} and node.attr in _DATES
    ):
        return {f"{owner}.{node.attr}"}
    return set()


def systems_in_one_place(tree: Path) -> Iterator[str]:
    """Names that do not exist on every operating system are used in `platforms.py` only."""
    for _, path, syntax in modules(tree):
        where = path.relative_to(tree).as_posix()
        if where == _PLATFORMS:
            continue
        for node in ast.walk(syntax):
            for name in _not_everywhere(node):
                if where in _ABOUT_MODES and name.rpartition(".")[2] in {"st_mode", "st_uid", "st_gid"}:
                    continue
                if where == "clock.py" and name.startswith("time."):
                    continue
                yield f"{path}:{node.lineno} not on every system: {name}"  # type: ignore[attr-defined]


def _not_everywhere(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if _NOT_EVERYWHERE.get(alias.name, ()) is None)
    elif isinstance(node, ast.ImportFrom):
        names = _NOT_EVERYWHERE.get(node.module or "", frozenset())
        if names is None:
            yield str(node.module)
        else:
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name in names)
    elif isinstance(node, ast.Attribute):
        owner = ast.unparse(node.value)
        if (
            node.attr in _ON_ANY_OBJECT
            or node.attr in (_NOT_EVERYWHERE.get(owner) or ())
            or (owner, node.attr) == ("sys", "platform")
            or (owner, node.attr) == ("os", "name")
        ):
            yield f"{owner}.{node.attr}"


def statuses_in_tables(tree: Path) -> Iterator[str]:
    """Which status an error becomes is written in `problem_table.py` and in route tables only."""
    for _, path, syntax in modules(tree):
        if _STATUS_FILES.fullmatch(path.relative_to(tree).as_posix()):
            continue
        for node in ast.walk(syntax):
            for value in _status_literals(node):
                yield f"{path}:{node.lineno} status {value}"
            if _is_status_table(node):
                yield f"{path}:{node.lineno} a second table of statuses"


def _status_literals(node: ast.AST) -> Iterator[int]:
    """Numbers given as `status=…`, compared with something called status, or as a `Reply`'s second argument."""
    candidates: list[ast.expr] = []
    if isinstance(node, ast.Call):
        candidates += [keyword.value for keyword in node.keywords if keyword.arg in {"status", "status_code"}]
        if ast.unparse(node.func).rpartition(".")[2] in {"Reply", "Response", "JSONResponse"}:
            candidates += node.args[1:2]
    elif isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        if any("status" in ast.unparse(side) for side in sides):
            candidates += sides
    for candidate in candidates:
        for each in ast.walk(candidate):
            if isinstance(each, ast.Constant) and type(each.value) is int and each.value in _STATUS:
                yield each.value


def _is_status_table(node: ast.AST) -> bool:
    """A dict that gives statuses to names, or whose values are calls or tuples of a status and a text."""
    if not isinstance(node, ast.Dict) or not node.keys:
        return False
    return all(_is_text(key) for key in node.keys) and any(_holds_status(value) for value in node.values)


def _holds_status(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        parts = value.args
    elif isinstance(value, ast.Tuple | ast.List):
        parts = value.elts
    else:
        return _is_status(value)
    return any(_is_status(part) for part in parts) and any(_is_text(part) for part in parts)


def _is_status(node: ast.expr) -> bool:
    if ast.unparse(node).startswith("HTTPStatus."):
        return True
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value in _STATUS


def _is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def constant_time(tree: Path) -> Iterator[str]:
    """What must not leak through timing is not compared with `==` (checklist A16; by name, so best effort)."""
    for _, path, syntax in modules(tree):
        for node in ast.walk(syntax):
            if not isinstance(node, ast.Compare) or not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                continue
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Constant) for side in sides):
                continue  # compared with a literal: no secret on the other side
            if any(_SECRET_NAME.search(_last_name(side)) for side in sides):
                yield f"{path}:{node.lineno} use hmac.compare_digest: {ast.unparse(node)}"


def published_by_the_commit(tree: Path) -> Iterator[str]:
    """Only `Revocations.commit` writes the list of revocations: as the last statement, and followed at once.

    Sweeping deletes from the list, a restored backup renames it, and what reads it reads it anywhere.
    """
    for _, path, syntax in modules(tree):
        if path.relative_to(tree).as_posix() == "identity/revocation.py":
            continue
        for node in ast.walk(syntax):
            named = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if isinstance(node, ast.ImportFrom):
                named = next((alias.name for alias in node.names if alias.name == "_publish"), "")
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if named == "_publish" or _PUBLISHES.search(text):
                yield f"{path}:{node.lineno} publishes by itself: give the unit to Revocations.commit"  # type: ignore[attr-defined]


def checks_are_required(tree: Path) -> Iterator[str]:
    """What a unit asks first has no default: who forgets to ask gets an error, and no right."""
    for _, path, syntax in modules(tree):
        for node in ast.walk(syntax):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                named = node.args
                by_place = [*named.posonlyargs, *named.args]
                optional = by_place[len(by_place) - len(named.defaults) :]
                for each, value in zip(named.kwonlyargs, named.kw_defaults, strict=True):
                    optional += [] if value is None else [each]
                if any(each.arg == "check" for each in optional):
                    yield f"{path}:{node.lineno} {node.name} has a default for check: say `unchecked` at the call"


def three_trees(root: Path) -> Iterator[str]:
    """One name in three trees: `src/watchword/features/x`, `tests/features/x`, `docs/features/x.md`."""
    sources = {path.name for path in (root / "src" / PACKAGE / "features").iterdir() if (path / "__init__.py").exists()}
    tests = {path.name for path in (root / "tests" / "features").glob("*") if path.is_dir() and path.name[0].isalpha()}
    documents = {path.stem for path in (root / "docs" / "features").glob("*.md")}
    for name in sorted(sources | tests | documents):
        for where, names in (
            ("src/watchword/features", sources),
            ("tests/features", tests),
            ("docs/features", documents),
        ):
            if name not in names:
                yield f"{where}:0 {name} is missing"


def _part(name: str) -> str:
    return name.partition(".")[0]


def _feature(name: str) -> str | None:
    pieces = name.split(".")
    return pieces[1] if pieces[0] == "features" and len(pieces) > 1 else None


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
