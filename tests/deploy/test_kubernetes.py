"""The manifests of deploy/kubernetes: valid by the schemas of the Kubernetes API, and in agreement with the service."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.deploy.files import DATA, DEPLOY, PORT, ROOT, USER, documents
from watchword.errors import SettingsError
from watchword.settings import Settings
from watchword.settings.table import SETTINGS

FOLDER = DEPLOY / "kubernetes"
FILES = sorted(path for path in FOLDER.iterdir() if path.name != "kustomization.yaml")
VERSIONS = ("1.30", "1.34", kubernetes_validate.latest_version())
NAMES = {row.variable for row in SETTINGS} | {f"{row.variable}_FILE" for row in SETTINGS if row.secret}


def only(name: str) -> dict[str, Any]:
    """The object of a file."""
    (found,) = documents(FOLDER / name)
    return found


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = only("deployment.yaml")["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    return dict(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_of_the_api(path: Path, version: str) -> None:
    """Strictly: a field that the API does not know is a fault."""
    for document in documents(path):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_find_faults() -> None:
    """A slip of the pen, a wrong kind and an old version are found, so the test above can fail."""
    for change in ({"replica": 2}, {"replicas": "two"}):
        wrong = only("deployment.yaml")
        wrong["spec"] |= change
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate(only("disruption-budget.yaml") | {"apiVersion": "policy/v1beta1"}, VERSIONS[-1])


def test_kustomize_takes_all_of_them() -> None:
    """All but the example of a Secret, by names that exist."""
    kustomization = only("kustomization.yaml")
    assert set(kustomization["resources"]) == {path.name for path in FILES} - {"secret.example.yaml"}
    (image,) = kustomization["images"]
    assert image["name"] == container()["image"]
    assert image["newTag"] != "latest", "an apply with the tag that is there changes nothing"
    assert f"docker push {image['newName']}:{image['newTag']}\n" in (ROOT / "docs/guides/deploy.md").read_text("utf-8")
    if shutil.which("kubectl") is None:  # not among Debian's packages, and all that it adds is that it can read them
        return
    command = ["kubectl", "kustomize", str(FOLDER), "--output", "/dev/stdout"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nkind: ") == len(kustomization["resources"])
    assert f"image: {image['newName']}:{image['newTag']}\n" in done.stdout


def test_names_agree() -> None:
    """Labels, ports, secrets and volumes: each that is pointed to is there."""
    labels = only("deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    service, ingress = only("service.yaml"), only("ingress.yaml")
    for selector in (
        only("deployment.yaml")["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        only("disruption-budget.yaml")["spec"]["selector"]["matchLabels"],
        only("network-policy.yaml")["spec"]["podSelector"]["matchLabels"],
        pod()["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ):
        assert selector == labels
    (port,) = container()["ports"]
    assert port == {"name": "http", "containerPort": PORT}
    assert [each["targetPort"] for each in service["spec"]["ports"]] == ["http"]
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": service["metadata"]["name"], "port": {"name": "http"}}
    assert {mount["name"] for mount in container()["volumeMounts"]} == {volume["name"] for volume in pod()["volumes"]}
    assert {mount["mountPath"] for mount in container()["volumeMounts"]} == {"/etc/watchword", DATA, "/tmp"}
    secret = only("secret.example.yaml")
    wanted = {each["valueFrom"]["secretKeyRef"]["key"]: each["valueFrom"]["secretKeyRef"].get("optional", False)
              for each in container()["env"] if "valueFrom" in each}  # fmt: skip
    assert {key for key, optional in wanted.items() if not optional} | {"secret"} == set(secret["stringData"])
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]


def test_the_environment() -> None:
    """Each name is a setting, and the settings can be used together."""
    told = {each["name"]: each.get("value") for each in container()["env"]}
    assert set(told) <= NAMES
    assert told["WATCHWORD_PUBLIC_URL"] == f"https://{only('ingress.yaml')['spec']['rules'][0]['host']}"
    given = {name.removeprefix("WATCHWORD_").lower(): value for name, value in told.items()
             if value is not None and not name.endswith("_FILE")}  # fmt: skip
    assert Settings(host="0.0.0.0", **given).drain.total_seconds() == 10
    assert pod()["terminationGracePeriodSeconds"] >= 10 + 30


@pytest.mark.parametrize("key", ["secret", "database-url"])
def test_the_example_of_a_secret_is_refused(key: str) -> None:
    """Applied as it stands, it starts nothing: no secret that others know, no SQLite in a pod."""
    with pytest.raises(SettingsError):
        Settings(**{key.replace("-", "_"): only("secret.example.yaml")["stringData"][key]})


def test_the_walls() -> None:
    """Not root, nothing to write to, no rights: what the namespace enforces as `restricted`, and more."""
    whole, own = pod()["securityContext"], container()["securityContext"]
    assert (whole["runAsNonRoot"], whole["runAsUser"], whole["runAsGroup"]) == (True, USER, USER)
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["automountServiceAccountToken"] is False
    assert only("namespace.yaml")["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    for each in container()["env"]:
        assert ("value" in each) != each["name"].endswith(("DATABASE_URL", "REDIS_URL")), (
            "passwords come from the Secret"
        )


def test_the_probes_ask_what_the_service_answers(example_paths: set[str]) -> None:
    """Each path is a route."""
    asked = {container()[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    assert asked == {"/readyz", "/livez"}
    assert asked <= example_paths


@pytest.fixture
def example_paths() -> set[str]:
    """The paths of the health routes."""
    from watchword.features.health.routes import HealthRoutes

    return {route.path for route in HealthRoutes(None).table()}  # type: ignore[arg-type]


def test_mail_and_webhooks_leave() -> None:
    """The policy lets the service reach a mail server, by STARTTLS and by TLS, and receivers by https."""
    rules = only("network-policy.yaml")["spec"]["egress"]
    ports = {each["port"] for rule in rules if "to" not in rule for each in rule["ports"]}
    assert {587, 465, 443} <= ports
