"""Webhooks are signed as Standard Webhooks says, and go to no address that an attacker would choose."""

from __future__ import annotations

import pytest

from watchword.public_addresses import is_private_host, is_public
from watchword.settings.values import Unfit
from watchword.webhooks import signing
from watchword.webhooks.urls import Target, check

# From the tests of the Standard Webhooks project's own libraries.
SECRET, ID, AT = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330
BODY, SIGNATURE = b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_J18_the_published_vector() -> None:
    """The signature is the one that the specification's libraries make."""
    signed = dict(signing.headers([signing.read(SECRET)], event_id=ID, at=AT, body=BODY))
    assert signed == {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}


def test_each_secret_signs() -> None:
    """While a secret is replaced, a receiver that knows either accepts."""
    other = signing.make_secret()
    signed = dict(signing.headers([other, signing.read(SECRET)], event_id=ID, at=AT, body=BODY))
    first, second = signed["webhook-signature"].split(" ")
    assert second == SIGNATURE
    assert first != second


def test_a_secret_is_read_as_it_is_shown() -> None:
    """256 bits, written with the prefix that libraries and secret scanners know."""
    secret = signing.make_secret()
    assert len(secret) == 32
    assert signing.read(signing.shown(secret)) == secret
    short = signing.shown(secret[:23])
    for wrong in ("", SECRET.removeprefix("whsec_"), "whsec_*", "whsec_MfK", "whsec_", "whsec_MfKQ", short):
        with pytest.raises(ValueError, match=r".*"):
            signing.read(wrong)


PUBLIC = ("8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1")
PRIVATE = (
    "127.0.0.1", "127.255.0.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::",
    "::127.0.0.1",
)  # fmt: skip
NEVER = (
    "169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254", "fe80::1", "fe80::1%eth0",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1", "192.0.2.1", "198.18.0.1", "192.88.99.1", "2001:db8::1",
    "2001:0:1::1", "fec0::1", "64:ff9b:1::7f00:1", "5f00::1", "3fff::1", "100::1", "192.0.0.192",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address(address: str) -> None:
    """Anyone's webhook may go there."""
    assert is_public(address)
    assert not is_private_host(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address(address: str) -> None:
    """Only one that an operator allowed may go there, in whatever form the address is written."""
    assert not is_public(address)
    assert is_private_host(address)


@pytest.mark.parametrize("address", NEVER)
def test_J16_an_address_for_no_one(address: str) -> None:
    """Metadata services, groups and what is reserved are refused also where private networks are allowed."""
    assert not is_public(address)
    assert not is_private_host(address)


def test_plain_http_stays_in_private_networks() -> None:
    """A name that turns out to be public gets nothing in the clear."""
    assert Target("http://hooks.internal/x", private=True).refusal("10.0.0.1") == ""
    assert "https only" in Target("http://hooks.internal/x", private=True).refusal("8.8.8.8")
    assert Target("https://hooks.example.com/x", private=True).refusal("8.8.8.8") == ""
    assert "may not reach" in Target("https://hooks.example.com/x").refusal("10.0.0.1")


REFUSED = (
    "http://hooks.example.com/x", "ftp://hooks.example.com", "https://user:pw@hooks.example.com/", "https://",
    "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/",
    "https://10.0.0.1/", "https://169.254.169.254/latest", "https://0.0.0.0/", "https://2130706433/",
    "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://127.1/", "https://localhost/",
    "https://localhost./", "https://[v1.x]/", "https://[2606:4700::1].", "https://[2606:4700::1]x",
    "https://api.localhost/", "https://hooks.example.com/#x", "https://hooks.example.com/\r\nx", "https://hooks.example.com/\x7f",
    "https://hooks.example.com/" + "x" * 2048,
)  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_no_webhook_goes_to(url: str) -> None:
    """It is refused when it is written; what a name leads to is asked at each connection."""
    with pytest.raises(Unfit):
        check(Target(url))


@pytest.mark.parametrize(
    "url", ["https://169.254.169.254/", "https://[fd00:ec2::254]/", "https://0.0.0.0/", "https://0x7f.1/"]
)
def test_a_url_that_is_refused_also_in_private_networks(url: str) -> None:
    """What hands out credentials is no receiver."""
    with pytest.raises(Unfit):
        check(Target(url, private=True))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/x", "https://10.0.0.1/x?y=1", "http://localhost:8000/", "http://hooks:8080/"]
)
def test_a_url_in_a_private_network(url: str) -> None:
    """An operator who allows it may use plain http there."""
    check(Target(url, private=True))
