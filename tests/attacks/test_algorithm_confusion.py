"""A public key used as a shared secret (CVE-2026-48526, CVE-2024-33663, CVE-2026-34950; RFC 8725 section 2.1)."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.attacks.forging import NOW, claims, forge, header, key, refuse, verifier
from watchword.errors import InvalidKey, TokenError
from watchword.tokens import SigningKey, VerificationKey, public_key_set, verify_compact
from watchword.tokens.algorithms import ALGORITHMS
from watchword.tokens.jwk import thumbprint

SPKI, PKCS1 = PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1


@cache
def forms(name: str) -> dict[str, bytes]:
    """A public key in every form that somebody might take for a secret."""
    private = key(name)._material
    public = private.public_key()  # type: ignore[union-attr]
    pem = public.public_bytes(Encoding.PEM, SPKI)
    der = public.public_bytes(Encoding.DER, SPKI)
    jwk = json.dumps(key(name).public_jwk()).encode()
    found = {
        "PEM": pem,
        "PEM with CRLF": pem.replace(b"\n", b"\r\n"),
        "PEM in one line": pem.replace(b"\n", b"\\n"),
        "PEM after a blank": b"  \n" + pem,
        "PEM after text": b"Subject: somebody\n" + pem,
        "PEM after a BOM": b"\xef\xbb\xbf" + pem,
        "PEM in UTF-16": pem.decode().encode("utf-16"),
        "PEM without last newline": pem.rstrip(),
        "DER": der,
        "private PEM": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),  # type: ignore[union-attr]
        "private DER": private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),  # type: ignore[union-attr]
        "SSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "JWK": jwk,
        "JWK, indented": json.dumps(key(name).public_jwk(), indent=2).encode(),
        "JWK set": public_key_set([key(name)]),
        "JSON array of JWK": b"[" + jwk + b"]",
        "JWK, cut off": jwk[:-1],
        "base64 of PEM": base64.b64encode(pem),
        "base64 of DER": base64.b64encode(der),
        "base64url of DER": base64.urlsafe_b64encode(der).rstrip(b"="),
        "base64 lines of DER": base64.encodebytes(der),
        "base64 of JWK": base64.b64encode(jwk),
        "base64 of base64 of PEM": base64.b64encode(base64.b64encode(pem)),
    }
    found["SSH blob"] = base64.b64decode(found["SSH"].split()[1])
    if name != "EdDSA":
        found["certificate"] = certificate(name).public_bytes(Encoding.PEM)
        found["certificate DER"] = certificate(name).public_bytes(Encoding.DER)
    if name == "RS256":
        found["PKCS #1"] = public.public_bytes(Encoding.PEM, PKCS1)
        found["PKCS #1 DER"] = public.public_bytes(Encoding.DER, PKCS1)
    if name == "ES256":
        found["point"] = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return found


def certificate(name: str) -> x509.Certificate:
    private = key(name)._material
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(who, who, private.public_key(), 1, start, start + dt.timedelta(days=9))  # type: ignore[union-attr,arg-type]
    return builder.sign(private, hashes.SHA256())  # type: ignore[arg-type]


CASES = [(name, form) for name in ("RS256", "ES256", "EdDSA") for form in forms(name)]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize(("name", "form"), CASES, ids=[f"{name} {form}" for name, form in CASES])
def test_A6_a_key_file_is_never_a_shared_secret(name: str, form: str, algorithm: str) -> None:
    secret = forms(name)[form]
    k = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    for use in (SigningKey.shared_secret, VerificationKey.shared_secret):
        with pytest.raises(InvalidKey):
            use(secret, algorithm)  # type: ignore[operator]
    for read in (SigningKey.from_jwk, VerificationKey.from_jwk):
        with pytest.raises(InvalidKey):
            read({"kty": "oct", "k": k, "alg": algorithm})  # type: ignore[operator]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("name", ["RS256", "ES256", "EdDSA"])
def test_A6_a_token_signed_with_the_public_key_as_secret_is_refused(name: str, algorithm: str) -> None:
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    for form in forms(name).values():
        head = {"alg": algorithm, "typ": "at+jwt", "kid": key(name).kid}
        token = forge(head, claims(), lambda data, secret=form: hmac.digest(secret, data, digest))  # type: ignore[misc]
        refuse(token, "token_invalid", verifier(name))
        with pytest.raises(TokenError):
            verify_compact(token, key(name).public_jwk())
        with pytest.raises(TokenError):
            verify_compact(
                token, {n: v for n, v in key(name).public_jwk().items() if n != "alg"}, algorithms=[algorithm]
            )


@pytest.mark.parametrize("other", [name for name in ALGORITHMS if name != "PS256"])
def test_A6_a_token_names_the_keys_own_algorithm_or_is_refused(other: str) -> None:
    """Here every algorithm is in the policy's list, so that only the key itself stands in the way."""
    both = verifier(
        "PS256",
        *(name for name in ALGORITHMS if name != "PS256" and not ALGORITHMS[name].symmetric and name != "Ed25519"),
    )
    jwk = {**key("PS256").to_private_jwk(), "alg": other}
    fits = ALGORITHMS[other].kty == "RSA"
    sign = (SigningKey.from_jwk(jwk) if fits else key(other)).sign
    refuse(forge(header("PS256", alg=other), claims(), sign), "token_invalid", both)


@pytest.mark.parametrize("other", ["RS256", "PS384", "ES256"])
def test_A6_a_token_that_lies_about_its_algorithm_is_refused_though_the_key_fits_the_signature(other: str) -> None:
    """Whoever else reads the token goes by its header; both readers must come to the same end."""
    both = verifier("PS256", "RS256", "PS384", "ES256")
    token = forge(header("PS256", alg=other), claims(), key("PS256").sign)
    refuse(token, "token_invalid", both)
    for given in (key("PS256").verification_key, key("PS256").public_jwk(), both.key_set):
        with pytest.raises(TokenError):
            verify_compact(token, given)


def test_A7_text_and_bytes_are_not_keys() -> None:
    """CVE-2026-102268: what is passed as text must not be taken for whatever fits."""
    token = forge(header(), claims())
    for form in ("PEM", "JWK", "DER"):
        with pytest.raises(InvalidKey):
            verify_compact(token, forms("ES256")[form])  # type: ignore[arg-type]
        with pytest.raises(InvalidKey):
            verify_compact(token, forms("ES256")[form].decode("latin-1"))  # type: ignore[arg-type]


def test_B7_an_id_is_of_the_key_alone() -> None:
    """The same numbers under another algorithm have the same thumbprint: a set cannot hold both."""
    jwk = key("RS256").public_jwk()
    assert thumbprint(jwk) == key("RS256").kid == VerificationKey.from_jwk({**jwk, "alg": "PS256"}).kid
    assert (
        verifier("RS256").verify(forge(header("RS256"), claims(), key("RS256").sign), now=NOW).kid == key("RS256").kid
    )
