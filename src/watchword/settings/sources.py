"""Read settings from flags > WATCHWORD_* > .env > bare PORT and the like > watchword.toml > defaults."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchword.errors import Fault, SettingsError
from watchword.platforms import mode_of
from watchword.settings.environment import (
    belongs_to_others,
    did_you_mean,
    is_made_by_platform,
    is_slip,
    made_by_platform,
    made_up,
)
from watchword.settings.row import ENVIRONMENT_PREFIX, Setting
from watchword.settings.rules import complete
from watchword.settings.secret_files import read_secret_file
from watchword.settings.table import BARE, BY_NAME, SETTINGS, Settings
from watchword.settings.values import Unfit, at_home
from watchword.settings.written import bare, meant

if TYPE_CHECKING:
    from dotenv.parser import Binding

DOTENV = ".env"
TOML = "watchword.toml"
_FILE = "_file"
SECRET_FILES = {setting.name + _FILE: setting.name for setting in SETTINGS if setting.in_file}
_KNOWN = BY_NAME.keys() | SECRET_FILES.keys()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and the source of each (`--port`, `WATCHWORD_PORT`, `watchword.toml`, `default`)."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[Fault, ...] = ()


@dataclass(slots=True)
class _Reading:
    """The texts so far, their sources, and the faults."""

    texts: dict[str, str] = field(default_factory=dict, repr=False)
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)

    def take(self, source: Mapping[str, str], label: str) -> None:
        """Add what stronger sources left open. `{}` in `label` stands for the variable's name."""
        for name, text in source.items():
            if name in SECRET_FILES or not (text if BY_NAME[name].secret else bare(text)):
                continue
            if source.get(name + _FILE):
                variable = BY_NAME[name].variable
                self.faults.append(Fault(variable, f"and {variable}_FILE are both given", "leave out one of the two"))
            self._set(name, text, label.format(BY_NAME[name].variable))
        for file_name, name in SECRET_FILES.items():
            if bare(source.get(file_name, "")) and name not in self.texts:
                self._take_file(name, source[file_name], label.format(BY_NAME[name].variable + "_FILE"))

    def _take_file(self, name: str, path: str, label: str) -> None:
        try:
            text, warning = read_secret_file(at_home(meant(path)))
            self._set(name, text, label)
            if warning is not None:
                self.warnings.append(Fault(BY_NAME[name].variable + "_FILE", warning.message, warning.hint))
        except Unfit as unfit:
            self.faults.append(Fault(BY_NAME[name].variable + "_FILE", unfit.message, unfit.hint))
            self.unreadable.add(name)

    def _set(self, name: str, text: str, origin: str) -> None:
        if name not in self.texts:
            self.texts[name] = text
            self.origins[name] = origin


def load(flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path | None = None) -> Loaded:
    """Read the settings of a program.

    :param flags: name → value; None means not given. Names of `Settings`, and of files such as `secret_file`.
    :param environ: the process's environment.
    :param cwd: the folder of `.env` and `watchword.toml`, and of a relative data directory.
    :raises SettingsError: with every fault of every source.
    """
    home = cwd or Path.cwd()
    reading = _Reading()
    reading.take({name: str(value) for name, value in flags.items() if value is not None}, "flag")
    reading.origins = {name: _flag(name, flags) for name in reading.origins}
    dotenv = _dotenv(home / DOTENV, reading)
    reading.take(_prefixed(environ, "", reading), "{}")
    reading.take(_prefixed(dotenv, f" (in {DOTENV})", reading), "{} in " + DOTENV)
    for variable, name in BARE.items():
        _take_bare(variable, name, environ, variable, reading)
        _take_bare(variable, name, dotenv, f"{variable} in {DOTENV}", reading)
    reading.take(_toml(home / TOML, reading), TOML)
    if not reading.texts.get("data_dir"):
        reading.texts["data_dir"] = BY_NAME["data_dir"].default
    with suppress(Unfit):  # reported with the rest
        reading.texts["data_dir"] = str(home / at_home(meant(reading.texts["data_dir"])))
    return _finish(reading)


def _take_bare(variable: str, name: str, names: Mapping[str, str], label: str, reading: _Reading) -> None:
    """Take a variable without our prefix, such as PORT, or report it as another program's."""
    text = bare(names.get(variable, ""))
    if not text or name in reading.texts:
        return
    theirs = belongs_to_others(variable, text)
    if theirs is None:
        reading.take({name: text}, label)
    else:
        reading.warnings.append(theirs)


def _finish(reading: _Reading) -> Loaded:
    origins = {setting.name: reading.origins.get(setting.name, "default") for setting in SETTINGS}
    try:
        draft = complete(BY_NAME, reading.texts, unreadable=reading.unreadable)
    except SettingsError as error:
        faults = [*reading.faults, *(_placed(fault, reading.origins) for fault in error.faults)]
        raise SettingsError(tuple(dict.fromkeys(faults))) from None
    if reading.faults:
        raise SettingsError(tuple(dict.fromkeys(reading.faults)))
    doubts = (_placed(each, reading.origins) for each in draft.warnings)
    return Loaded(Settings.of(draft), origins, (*reading.warnings, *doubts))


def _placed(fault: Fault, origins: Mapping[str, str]) -> Fault:
    """Add the source to a fault, unless it is the variable itself."""
    origin = origins.get(fault.setting.removeprefix(ENVIRONMENT_PREFIX).lower(), fault.setting)
    if origin == fault.setting:
        return fault
    return Fault(fault.setting, f"{fault.message} (from {origin})", fault.hint)


def _flag(name: str, flags: Mapping[str, object]) -> str:
    return BY_NAME[name].flag if flags.get(name) is not None else f"{BY_NAME[name].flag}-file"


def _prefixed(names: Mapping[str, str], where: str, reading: _Reading) -> dict[str, str]:
    """Return the settings among `WATCHWORD_*`. Slips are refused; other names are warned about."""
    found: dict[str, str] = {}
    platforms: list[str] = []
    others: dict[str, str] = {}
    for variable, text in names.items():
        name = variable[len(ENVIRONMENT_PREFIX) :].lower()
        if not variable.upper().startswith(ENVIRONMENT_PREFIX):
            continue
        if not where and is_made_by_platform(variable, text):
            platforms.append(variable)
        elif name in _KNOWN and variable == variable.upper():
            found[name] = text
        elif is_slip(name, _KNOWN):
            hint = did_you_mean(variable.upper(), _KNOWN)
            reading.faults.append(Fault(variable, f"is not a setting{where}", hint))
        else:
            others[variable] = did_you_mean(variable.upper(), _KNOWN)
    reading.warnings.extend([made_by_platform(platforms)] if platforms else [])
    reading.warnings.extend(made_up(others))
    return found


def _dotenv(path: Path, reading: _Reading) -> dict[str, str]:
    text = _read(path, reading)
    if not text:
        return {}
    from io import StringIO

    from dotenv.parser import parse_stream  # imported here: most starts have no .env

    found: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.key is not None and binding.value is None and not _is_ours(binding.key):
            continue  # a name alone: docker's --env-file takes its value from the environment
        if binding.error or (binding.key is not None and binding.value is None):
            line = binding.original.line
            reading.faults.append(Fault(DOTENV, f"line {line} cannot be read", "write NAME=value on a line of its own"))
        elif binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
            for setting in (each for each in SETTINGS if each.secret and each.variable == binding.key):
                _warn_if_cut(setting, binding, reading)
    _warn_if_open(path, any(found.get(s.variable) for s in SETTINGS if s.secret), reading)
    return found


def _warn_if_cut(setting: Setting[Any], binding: Binding, reading: _Reading) -> None:
    """Warn of a comment that may be the end of a secret; refuse where only the whole would be one."""
    whole = binding.original.string.partition("=")[2].strip()
    if whole == binding.value or whole.startswith(("'", '"', "#")):
        return
    hint = "put the secret into single quotes if the rest belongs to it, or else the comment on a line of its own"
    fault = Fault(setting.variable, f"ends before the ` #` of its line in {DOTENV}: the rest is a comment", hint)
    with suppress(Unfit):
        setting.read(whole)
        try:
            setting.read(binding.value or "")
        except Unfit:
            reading.unreadable.add(setting.name)
            reading.faults.append(fault)
        else:
            reading.warnings.append(fault)


def _is_ours(variable: str) -> bool:
    return variable in BARE or variable.startswith(ENVIRONMENT_PREFIX)


def _toml(path: Path, reading: _Reading) -> dict[str, str]:
    text = _read(path, reading)
    if not text:
        return {}
    import tomllib

    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reading.faults.append(Fault(TOML, f"is not TOML: {error}", "write lines such as port = 4100"))
        return {}
    found = {}
    for name, value in content.items():
        if name not in _KNOWN:
            reading.faults.append(Fault(TOML, f"{name!a} is not a setting", did_you_mean(name, _KNOWN)))
        elif (written := _toml_text(value)) is None:
            reading.faults.append(Fault(TOML, f"{name} is of a kind no setting has", "write text, a number or a list"))
        else:
            found[name] = written
    _warn_if_open(path, any(found.get(s.name) for s in SETTINGS if s.secret), reading)
    return found


def _toml_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | str):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return None


def _read(path: Path, reading: _Reading) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""  # `.env` may be a virtual environment
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        hint = f"check {path}, or remove it" if isinstance(error, OSError) else f"save {path} as UTF-8"
        reading.faults.append(Fault(path.name, f"cannot be read: {reason}", hint))
        return ""


def _warn_if_open(path: Path, holds_secret: bool, reading: _Reading) -> None:
    """Warn when everyone can read a file that holds a secret."""
    if holds_secret and mode_of(path.stat()) & 0o004:
        message = "holds a secret and can be read by every user of this machine"
        reading.warnings.append(Fault(path.name, message, f"chmod 600 {path}"))
