"""WATCHWORD_CLAIMS: parsed once; reserved names and bad paths are refused with a line that says why (B6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchword.claim_names import RESERVED_CLAIMS, fault_of
from watchword.errors import SettingsError
from watchword.settings import Settings
from watchword.settings.claims import MOST, Mapped


def test_a_mapping_is_read_and_written_alike(tmp_path: Path) -> None:
    """As text, as a list, and as what `watchword settings` shows."""
    text = "tenant=public_metadata.tenant,https://example.com/plan=public_metadata.billing.plan,name=name"
    settings = Settings(data_dir=tmp_path, claims=text)
    assert settings.claims == (
        Mapped("tenant", ("public_metadata", "tenant")),
        Mapped("https://example.com/plan", ("public_metadata", "billing", "plan")),
        Mapped("name", ("name",)),
    )
    assert settings.shown()["claims"] == text
    assert Settings(data_dir=tmp_path, claims=text.split(",")) == settings
    assert Settings(data_dir=tmp_path).claims == Settings(data_dir=tmp_path, claims="off").claims == ()


@pytest.mark.parametrize("name", sorted(RESERVED_CLAIMS))
def test_a_reserved_name_is_refused_in_any_case(name: str, tmp_path: Path) -> None:
    """Go's JSON reader, for one, takes `SUB` for `sub`."""
    for written in (name, name.upper(), name.title()):
        with pytest.raises(SettingsError, match="claim of the protocol"):
            Settings(data_dir=tmp_path, claims=f"{written}=name")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tenant", "not a claim and its field"),
        ("=name", "not a claim and its field"),
        ("name=", "not a claim and its field"),
        ("name:name", "not a claim and its field"),
        ("__proto__=name", "JavaScript"),
        ("ſub=name", "no name of a claim"),
        ("a b=name", "no name of a claim"),
        ("n" * 65 + "=name", "no name of a claim"),
        ("a=name,a=username", "claim a twice"),
        ("tenant=public_metadata.tenant,Tenant=name", "claim Tenant twice, but for capitals"),
        ("constructor=name", "JavaScript"),
        ("prototype=public_metadata", "JavaScript"),
        (",".join(f"c{number}=name" for number in range(MOST + 1)), f"at most {MOST}|names {MOST + 1} claims"),
        ("a=private_metadata.plan", "its user can read"),
        ("a=private_metadata", "its user can read"),
        ("a=email", "may be unconfirmed"),
        ("a=password_hash", "no field of a user"),
        ("a=roles", "no field of a user"),
        ("a=name.first", "no field of a user"),
        ("a=public_metadata.", "no path"),
        ("a=public_metadata..b", "no path"),
        ("a=public_metadata.b[0]", "no path"),
        ("a=public_metadata.ä", "no path"),
    ],
)  # fmt: skip
def test_what_cannot_be_mapped_is_refused_with_a_clear_line(text: str, said: str, tmp_path: Path) -> None:
    """Each fault names the setting, and says what to write."""
    with pytest.raises(SettingsError, match=said) as caught:
        Settings(data_dir=tmp_path, claims=text)
    (fault,) = caught.value.faults
    assert fault.setting == "WATCHWORD_CLAIMS"
    assert fault.hint


def test_every_reserved_name_would_be_a_name_otherwise() -> None:
    """So that it is refused for what it is."""
    assert all("protocol" in fault_of(name) for name in RESERVED_CLAIMS)
    assert fault_of("tenant") == ""
