"""The files of deploy/ agree with the settings, with each other and with what they are for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.deploy.dockerfile import command, context, read
from tests.deploy.files import DATA, DEPLOY, PORT, ROOT, USER, compose, every_file, settings_named, unit
from tests.e2e.server import COMMAND
from watchword.settings import Settings
from watchword.settings.table import SETTINGS

STAGES = read((DEPLOY / "Dockerfile").read_text("utf-8"))
KNOWN = {row.variable for row in SETTINGS} | {f"{row.variable}_FILE" for row in SETTINGS if row.secret}
STOPPING = 30
"""Seconds that a service needs at most to stop, after its drain: see docs/features/health.md."""
_ADDRESS = re.compile(r"[a-z]+://([^\s/:'\"}]+)")


@pytest.mark.parametrize("path", every_file(), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_settings_and_addresses(path: Path) -> None:
    """Each WATCHWORD_… is a setting. No file names an address of the internet, and none holds a secret."""
    text = path.read_text("utf-8")
    assert settings_named(text) <= KNOWN
    for host in _ADDRESS.findall(text):
        assert host in {"127.0.0.1", "$"} or host.endswith((".example.com", ".svc")) or "." not in host, host
    long = re.findall(r"[A-Za-z0-9_-]{43,}", text)
    assert not [
        each for each in long if re.search("[a-z]", each) and re.search("[A-Z]", each) and re.search("\\d", each)
    ]


def test_the_dockerfile() -> None:
    """Two stages of one image; the second runs no pip, is not root, and says how it is asked."""
    build, final = STAGES
    assert build.image == final.image
    assert re.fullmatch(r"python:3\.\d+-slim", final.image)
    assert {"RUN", "COPY", "ENV", "USER", "CMD", "HEALTHCHECK"} <= {step.name for step in final.steps}
    assert not any("pip" in step.rest or "apt" in step.rest for step in final.steps)
    assert final.only("USER").rest == f"{USER}:{USER}"
    assert final.only("EXPOSE").rest == str(PORT) == Settings.rows["port"].default
    assert final.only("VOLUME").rest == final.only("WORKDIR").rest == final.environment["WATCHWORD_DATA_DIR"] == DATA
    assert command(final.only("CMD")) == ["watchword", "serve"]
    assert command(final.only("HEALTHCHECK")) == ["watchword", "health"]


def test_only_what_is_needed_is_sent_to_the_build() -> None:
    """No .env, no database, no history of the repository."""
    assert context(ROOT) == ["LICENSE", "NOTICE", "README.md", "constraints.txt", "pyproject.toml", "src"]


@pytest.mark.parametrize("name", ["compose.yaml", "compose.full.yaml"])
def test_the_schema_of_compose_files(name: str, tmp_path: Path) -> None:
    """It knows each key, and does not know one that is misspelt."""
    assert conforms(DEPLOY / name)
    wrong = tmp_path / name
    wrong.write_text((DEPLOY / name).read_text("utf-8").replace("read_only:", "readonly:"))
    assert not conforms(wrong)


@pytest.mark.parametrize("name", ["compose.yaml", "compose.full.yaml"])
def test_every_setting_reaches_the_service(name: str) -> None:
    """What stands in deploy/.env gets into each service; no file is needed."""
    ours = [each for each in compose(name)["services"].values() if each["image"] == "watchword"]
    assert [each["env_file"] for each in ours] == [[{"path": ".env", "required": False}]] * len(ours)


def conforms(path: Path) -> bool:
    """Whether a file is a compose file, by the schema of the Compose Specification."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def test_compose() -> None:
    """One service, on loopback, with nothing to write to but its volume and /tmp."""
    file = compose("compose.yaml")
    assert set(file) == {"name", "services", "volumes"}
    (service,) = file["services"].values()
    assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert service["volumes"] == [f"data:{DATA}"]
    assert set(file["volumes"]) == {"data"}
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert "privileged" not in service
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert service["build"]["context"] == ".."


def test_compose_full() -> None:
    """Two services with the same settings; each name that a part uses is declared, and nothing is declared in vain."""
    file = compose("compose.full.yaml")
    services = file["services"]
    ours = [service for service in services.values() if service.get("image") == "watchword"]
    assert len(ours) == 2
    assert ours[0] == ours[1]
    for kind in ("secrets", "networks"):
        used = {name for service in services.values() for name in service.get(kind, [])}
        assert used == set(file[kind]), kind
    volumes = {each.split(":")[0] for service in services.values() for each in service.get("volumes", [])}
    assert volumes - {"./Caddyfile"} == set(file["volumes"])
    for service in services.values():
        assert {f"/run/secrets/{name}" for name in service.get("secrets", [])} == {
            value for value in service.get("environment", {}).values() if value.startswith("/run/secrets/")
        }
    assert [name for name, service in services.items() if "ports" in service] == ["caddy"]
    assert all(file["networks"][name]["internal"] for name in ("database", "counters"))
    environment = ours[0]["environment"]
    postgres = urlsplit(environment["WATCHWORD_DATABASE_URL"])
    assert (postgres.hostname, postgres.username) == ("postgres", services["postgres"]["environment"]["POSTGRES_USER"])
    assert postgres.path == f"/{services['postgres']['environment']['POSTGRES_DB']}"
    assert urlsplit(environment["WATCHWORD_REDIS_URL"]).hostname in services
    assert environment["WATCHWORD_TRUSTED_PROXIES"] == "1"
    for name, secret in file["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
    # At the top: hatchling, which packs deploy/ into the source archive, looks there only.
    assert {"deploy/secrets/", ".env"} <= set((ROOT / ".gitignore").read_text("utf-8").splitlines())


def test_the_caddyfile() -> None:
    """It passes on to the two services, and looks away sooner than a stopping one goes."""
    text = (DEPLOY / "Caddyfile").read_text("utf-8")
    services = compose("compose.full.yaml")["services"]
    ours = {f"{name}:{PORT}" for name, service in services.items() if service.get("image") == "watchword"}
    passed_on = re.findall(r"reverse_proxy (.*) \{", text)
    assert len(passed_on) == 2
    assert all(set(each.split()) == ours for each in passed_on)
    (interval,), (patience,) = re.findall(r"health_interval (\d+)s", text), re.findall(r"health_timeout (\d+)s", text)
    drain = int(services["watchword-a"]["environment"]["WATCHWORD_DRAIN"].removesuffix("s"))
    assert int(interval) + int(patience) < drain
    assert int(services["watchword-a"]["stop_grace_period"].removesuffix("s")) >= drain + STOPPING
    assert set(re.findall(r"\{\$(\w+)", text)) == set(services["caddy"]["environment"])
    internet = (ROOT / "docs" / "guides" / "internet.md").read_text("utf-8")
    for line in re.findall(r"^\t(@large .*|respond @large .*)$", text, re.MULTILINE):
        assert line in internet, "bodies are limited as in the guide"


def test_the_unit(tmp_path: Path) -> None:
    """systemd finds nothing to say about it, and little that it leaves open."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    own = {"/opt/watchword/bin/watchword": str(COMMAND), "User=watchword": "User=root"}
    text = (DEPLOY / "watchword.service").read_text("utf-8")
    for shown, actual in own.items():
        assert shown in text
        text = text.replace(shown, actual)
    path = tmp_path / "watchword.service"
    path.write_text(text)
    verified = analyze("verify", str(path))
    assert verified.returncode == 0, verified.stderr
    assert "watchword.service" not in verified.stderr, verified.stderr
    judged = analyze("security", "--offline=true", "--threshold=15", str(DEPLOY / path.name))  # in tenths
    assert judged.returncode == 0, judged.stdout


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What systemd says."""
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_the_unit_agrees_with_the_rest() -> None:
    """Paths and commands; what cannot get better is not tried again."""
    said = unit(DEPLOY / "watchword.service")
    assert said["ExecStart"] == ["/opt/watchword/bin/watchword serve"]
    assert said["ExecStartPost"] == ["/opt/watchword/bin/watchword health --wait 30"]
    assert said["WorkingDirectory"] == [DATA]
    assert said["StateDirectory"] == [DATA.rpartition("/")[2]]
    assert said["RestartPreventExitStatus"] == ["78"]
