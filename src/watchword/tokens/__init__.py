"""JSON Web Tokens without clock or I/O: the caller passes `now` and the revocations."""

from watchword.tokens.claims import AccessClaims
from watchword.tokens.jwks import public_key_set, read_key_set
from watchword.tokens.keys import KeySet, SharedSecretKey, SigningKey, VerificationKey
from watchword.tokens.needs import Needs
from watchword.tokens.raw import verify_compact
from watchword.tokens.revocations import RevocationSet
from watchword.tokens.sign import sign_access, sign_compact
from watchword.tokens.verify import Policy, Verifier

__all__ = [
    "AccessClaims",
    "KeySet",
    "Needs",
    "Policy",
    "RevocationSet",
    "SharedSecretKey",
    "SigningKey",
    "VerificationKey",
    "Verifier",
    "public_key_set",
    "read_key_set",
    "sign_access",
    "sign_compact",
    "verify_compact",
]
