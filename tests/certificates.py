"""Certificates for tests: an authority, and what it signs."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = dt.timedelta(days=1)
# What an authority of RFC 5280 says of its key: Python 3.13 believes no other.
SIGNS = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip


class Signed(NamedTuple):
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """An authority of our own."""

    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        made = self._begun(self._name, self._key, dt.datetime.now(dt.UTC) + DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        made = made.add_extension(SIGNS, critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        made = made.add_extension(own, critical=False)
        self.certificate = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def signed(self, name: str, *, until: dt.datetime | None = None) -> Signed:
        """A certificate for a host, an address or a client.

        :param until: when it expires; tomorrow by itself.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._begun(_named(name), key, until or dt.datetime.now(dt.UTC) + DAY)
        made = made.add_extension(x509.SubjectAlternativeName([_general(name)]), critical=False)
        whose = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = made.add_extension(whose, critical=False)
        pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return Signed(
            made.sign(self._key, hashes.SHA256()).public_bytes(pem),
            key.private_bytes(pem, plain, serialization.NoEncryption()),
        )

    def _begun(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, until: dt.datetime) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - 3 * DAY)
            .not_valid_after(until)
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
