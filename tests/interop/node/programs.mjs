// Programs with accounts of their own, by openid-client and by oauth4webapi: tokens for a secret and for a key, a token
// for another API on a user's behalf, what each says of its tokens, and an end.
//
// stdin:  {issuer, secret: {id, secret}, signers: {algorithm: {id, pem}}, acting: {id, secret}, subject, billing}
// stdout: {library: what each step gave}
import { json } from "node:stream/consumers";

import { importPKCS8 } from "jose";
import * as oauth from "oauth4webapi";
import * as client from "openid-client";

const { issuer, secret, signers, acting, subject, billing } = await json(process.stdin);
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const KIND = "urn:ietf:params:oauth:token-type:access_token";
const server = new URL(issuer);
const exchange = { subject_token: subject, subject_token_type: KIND, resource: billing, scope: "read" };

// Each library as one function, which gives the same four for a client and its way to show who it is.
async function openid(id, way) {
  const authentication = way(client);
  const options = { algorithm: "oauth2", execute: [client.allowInsecureRequests] };
  const config = await client.discovery(server, id, undefined, authentication, options);
  return {
    own: (asked) => client.clientCredentialsGrant(config, asked),
    exchange: (asked) => client.genericGrantRequest(config, EXCHANGE, asked),
    introspect: (token) => client.tokenIntrospection(config, token),
    revoke: (token) => client.tokenRevocation(config, token),
  };
}

async function webapi(id, way) {
  const authentication = way(oauth);
  const options = { [oauth.allowInsecureRequests]: true };
  const found = await oauth.discoveryRequest(server, { algorithm: "oauth2", ...options });
  const as = await oauth.processDiscoveryResponse(server, found);
  const who = { client_id: id };
  const about = [as, who, authentication];
  return {
    own: async (asked) =>
      oauth.processClientCredentialsResponse(
        as, who, await oauth.clientCredentialsGrantRequest(...about, new URLSearchParams(asked), options)),
    exchange: async (asked) =>
      oauth.processGenericTokenEndpointResponse(
        as, who, await oauth.genericTokenEndpointRequest(...about, EXCHANGE, new URLSearchParams(asked), options)),
    introspect: async (token) =>
      oauth.processIntrospectionResponse(as, who, await oauth.introspectionRequest(...about, token, options)),
    revoke: async (token) =>
      oauth.processRevocationResponse(await oauth.revocationRequest(...about, token, options)),
  };
}

// RFC 9068, as oauth4webapi checks it in an API.
async function read(token, audience) {
  const as = await oauth.processDiscoveryResponse(
    server, await oauth.discoveryRequest(server, { algorithm: "oauth2", [oauth.allowInsecureRequests]: true }));
  const request = new Request(audience, { headers: { Authorization: `Bearer ${token}` } });
  return oauth.validateJwtAccessToken(as, request, audience, { [oauth.allowInsecureRequests]: true });
}

const refusal = (error) => error.error ?? error.cause?.[0]?.scheme ?? `${error}`;

async function programs(library) {
  const found = { scopes: {} };
  for (const method of ["ClientSecretBasic", "ClientSecretPost"]) {
    const program = await library(secret.id, (own) => own[method](secret.secret));
    const granted = await program.own({ scope: "read" });
    found.scopes[method] = granted.scope;
    found.refresh = granted.refresh_token ?? null;
  }
  for (const [algorithm, { id, pem }] of Object.entries(signers)) {
    const key = await importPKCS8(pem, algorithm);
    const program = await library(id, (own) => own.PrivateKeyJwt(key));
    await program.own({});
    const { access_token: token, scope } = await program.own({}); // another assertion, with another id
    found.scopes[algorithm] = scope;
    const claims = await read(token, issuer);
    found[algorithm] = claims.sub === id && claims.client_id === id;
    found.before = (await program.introspect(token)).active;
    await program.revoke(token);
    found.after = await program.introspect(token);
  }
  const api = await library(acting.id, (own) => own.ClientSecretBasic(acting.secret));
  const exchanged = await api.exchange(exchange);
  const claims = await read(exchanged.access_token, billing);
  found.exchanged = { kind: exchanged.issued_token_type, scope: exchanged.scope, sub: claims.sub, act: claims.act.sub };
  found.refusals = [
    await api.exchange({ ...exchange, resource: issuer }).catch(refusal),
    await api.exchange({ ...exchange, scope: "pay" }).catch(refusal),
    await api.exchange({ ...exchange, subject_token: exchanged.access_token }).catch(refusal),
    await api.own({ scope: "read" }).catch(refusal),
  ];
  const stranger = await library(secret.id, (own) => own.ClientSecretPost("wws_wrong"));
  found.stranger = await stranger.own({}).catch(refusal);
  const challenged = await library(secret.id, (own) => own.ClientSecretBasic("wws_wrong"));
  found.challenged = await challenged.own({}).catch(refusal);
  return found;
}

console.log(JSON.stringify({ "openid-client": await programs(openid), oauth4webapi: await programs(webapi) }));
