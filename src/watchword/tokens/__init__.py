"""JSON Web Tokens, pure: no clock, no I/O. `now` is passed in, and so is what has been revoked."""

from watchword.tokens.claims import AccessClaims
from watchword.tokens.jwks import public_key_set, read_key_set
from watchword.tokens.keys import KeySet, SharedSecretKey, SigningKey, VerificationKey
from watchword.tokens.raw import verify_compact
from watchword.tokens.revocations import RevocationSet
from watchword.tokens.sign import sign_access, sign_compact
from watchword.tokens.verify import Policy, Verifier

__all__ = [
    "AccessClaims",
    "KeySet",
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
