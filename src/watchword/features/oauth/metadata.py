"""The key set (RFC 7517) and the metadata (RFC 8414).

The documents claim only what works. `issuer` is the setting, byte for byte.
"""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from watchword.features.oauth.service import TokenEndpoint
from watchword.identity.kernel import Kernel
from watchword.identity.rights import Table
from watchword.identity.service_accounts.assertion import ALGORITHMS
from watchword.tokens.rotation import KEY_SET_MAX_AGE
from watchword.web.conditional import unless_known
from watchword.web.headers import public_for
from watchword.web.route import Anyone, Call, Header, Reply, Route

_METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")
_MOST_SCOPES = 200  # guards read 64 KiB at most
_PUBLIC: tuple[Header, ...] = (public_for(KEY_SET_MAX_AGE), (b"access-control-allow-origin", b"*"))


class Metadata(msgspec.Struct, frozen=True):
    """RFC 8414 section 2. No response types: there is no authorization endpoint. Other empty lists are omitted.

    `scopes_supported` names 200 scopes at most.
    """

    issuer: str
    token_endpoint: str
    jwks_uri: str
    grant_types_supported: tuple[str, ...]
    token_endpoint_auth_methods_supported: tuple[str, ...]
    token_endpoint_auth_signing_alg_values_supported: tuple[str, ...]
    response_types_supported: tuple[str, ...]
    revocation_endpoint: str
    revocation_endpoint_auth_methods_supported: tuple[str, ...]
    revocation_endpoint_auth_signing_alg_values_supported: tuple[str, ...]
    introspection_endpoint: str
    introspection_endpoint_auth_methods_supported: tuple[str, ...]
    introspection_endpoint_auth_signing_alg_values_supported: tuple[str, ...]
    scopes_supported: tuple[str, ...] | UnsetType = UNSET


class KeySetDocument(msgspec.Struct, frozen=True):
    """RFC 7517 section 5: public keys. Empty when a shared secret signs."""

    keys: tuple[dict[str, str], ...]


_KEY_SET = KeySetDocument(
    (
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "vv1d918Z7CWjYKowsTWJcIueRNZBNqUm48VF3x3Vge8",
            "y": "kPAdwcdHG0rEs-GldlFCkHCTcJq72M3RFp1oq_A-14I",
            "kid": "0197f1a2-8d00-7123-9abc-334455667788",
            "use": "sig",
            "alg": "ES256",
        },
    )
)


class MetadataRoutes:
    """The documents. They change only with settings, keys and scopes, so requests do not make them."""

    def __init__(self, kernel: Kernel) -> None:
        issuer = kernel.settings.public_url
        metadata = Metadata(
            issuer=issuer,
            token_endpoint=f"{issuer}/token",
            jwks_uri=f"{issuer}/.well-known/jwks.json",
            grant_types_supported=TokenEndpoint(kernel).grants,
            token_endpoint_auth_methods_supported=("none", *_METHODS),
            token_endpoint_auth_signing_alg_values_supported=ALGORITHMS,
            response_types_supported=(),
            revocation_endpoint=f"{issuer}/revoke",
            revocation_endpoint_auth_methods_supported=(*_METHODS, "none"),
            revocation_endpoint_auth_signing_alg_values_supported=ALGORITHMS,
            introspection_endpoint=f"{issuer}/introspect",
            introspection_endpoint_auth_methods_supported=_METHODS,
            introspection_endpoint_auth_signing_alg_values_supported=ALGORITHMS,
        )
        self._shown = metadata
        self._rights = kernel.rights
        self._keys = kernel.keys
        self._inserted = urlsplit(issuer).path
        self._made_of: Table | None = None
        self._make(kernel.rights.table)

    def _make(self, table: Table) -> None:
        scopes = tuple(sorted(table.scopes)[:_MOST_SCOPES])
        known = msgspec.structs.replace(self._shown, scopes_supported=scopes or UNSET)
        self._metadata = msgspec.json.encode(known)
        self._metadata_tag = b'"%b"' % sha256(self._metadata).hexdigest()[:32].encode()
        self._made_of = table

    def table(self) -> tuple[Route, ...]:
        """Return every route, under the prefix and, for an issuer with a path, in RFC 8414's form at the root."""
        routes = [
            Route(method="GET", path="/.well-known/jwks.json", handler=self.key_set, access=Anyone(),
                  summary="The public keys that verify access tokens", answers={200: KeySetDocument},
                  shown={200: _KEY_SET}, media_type="application/jwk-set+json"),
            self._document("/.well-known/oauth-authorization-server"),
            self._document("/.well-known/openid-configuration"),
        ]  # fmt: skip
        if self._inserted:
            routes += [
                self._document(f"/.well-known/oauth-authorization-server{self._inserted}", root=True),
                self._document(f"/.well-known/openid-configuration{self._inserted}", root=True),
            ]
        return tuple(routes)

    def _document(self, path: str, *, root: bool = False) -> Route:
        return Route(
            method="GET",
            path=path,
            handler=self.metadata,
            access=Anyone(),
            summary="Authorization server metadata",
            answers={200: Metadata},
            shown={200: self._shown},
            root=root,
            documented=not root,
        )

    async def key_set(self, call: Call) -> Reply:
        """`GET /.well-known/jwks.json`."""
        ring = self._keys.ring
        return unless_known(call, ring.published, b'"%b"' % ring.version.encode(), _PUBLIC)

    async def metadata(self, call: Call) -> Reply:
        """`GET /.well-known/oauth-authorization-server` and `/.well-known/openid-configuration`."""
        if self._rights.table is not self._made_of:
            self._make(self._rights.table)
        return unless_known(call, self._metadata, self._metadata_tag, _PUBLIC)
