// Reads our tokens with other people's libraries, each used as its own documentation says.
//
// stdin:  [{algorithm, issuer, audience, secret?, readings: {name: {token, issuer, audience}}}]
// stdout: {library: {algorithm: {name: the token's sub, or null where it was refused}}}
import { createPublicKey } from "node:crypto";
import { json } from "node:stream/consumers";

import fastifyJwt from "@fastify/jwt";
import express from "express";
import { expressjwt } from "express-jwt";
import Fastify from "fastify";
import buildGetJwks from "get-jwks";
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import jsonwebtoken from "jsonwebtoken";
import jwksRsa from "jwks-rsa";

const keySetUrl = (issuer) => `${issuer}/.well-known/jwks.json`;

// By its `kid`, for there may be several: the next key is published before it signs.
async function publicKey({ issuer, readings }) {
  const { keys } = await (await fetch(keySetUrl(issuer))).json();
  const { kid } = decodeProtectedHeader(readings.good.token);
  return createPublicKey({ key: keys.find((key) => key.kid === kid), format: "jwk" });
}

// @fastify/jwt answers 500 with these codes, and it is a refusal all the same: a signature of the wrong length, and a
// header with an algorithm that no key of the set has.
const FASTIFY_REFUSALS = ["FAST_JWT_VERIFY_ERROR", "JWK_NOT_FOUND"];

// Each library: the algorithms it is tried with, and from a case to a function from a reading to a `sub`.
const LIBRARIES = {
  jose: {
    algorithms: ["ES256", "RS256", "PS256", "EdDSA", "Ed25519", "HS256"],
    async reader({ algorithm, issuer, secret }) {
      const key = secret ? new TextEncoder().encode(secret) : createRemoteJWKSet(new URL(keySetUrl(issuer)));
      return async (one) => {
        const expected = { issuer: one.issuer, audience: one.audience, typ: "at+jwt", algorithms: [algorithm] };
        return (await jwtVerify(one.token, key, expected)).payload.sub;
      };
    },
  },

  jsonwebtoken: {
    algorithms: ["ES256", "RS256", "PS256", "HS256"],
    async reader({ algorithm, secret, ...where }) {
      const key = secret ?? (await publicKey(where));
      return async (one) => {
        const expected = { algorithms: [algorithm], issuer: one.issuer, audience: one.audience };
        return jsonwebtoken.verify(one.token, key, expected).sub;
      };
    },
  },

  "express-jwt": {
    algorithms: ["ES256", "RS256", "PS256", "HS256"],
    async reader({ algorithm, issuer, secret }) {
      const key = secret ?? jwksRsa.expressJwtSecret({ jwksUri: keySetUrl(issuer), cache: true });
      return async (one) => {
        const app = express();
        app.use(expressjwt({ secret: key, algorithms: [algorithm], issuer: one.issuer, audience: one.audience }));
        app.get("/", (request, response) => response.json(request.auth.sub));
        app.use((error, request, response, next) => response.status(error.status ?? 500).end());
        return await answered(app, one.token);
      };
    },
  },

  "@fastify/jwt": {
    algorithms: ["ES256", "RS256", "PS256", "EdDSA", "HS256"],
    async reader({ algorithm, issuer, secret, readings }) {
      const sets = buildGetJwks({ providerDiscovery: true, issuersWhitelist: [issuer] });
      const fromKeySet = (request, { header: { alg, kid } }) => sets.getPublicKey({ domain: issuer, alg, kid });
      // get-jwks makes no PEM of an Ed25519 key, so here Node does.
      const fromNode = async () => (await publicKey({ issuer, readings })).export({ type: "spki", format: "pem" });
      const key = secret ?? (algorithm === "EdDSA" ? await fromNode() : fromKeySet);
      return async (one) => {
        const app = Fastify();
        await app.register(fastifyJwt, {
          secret: typeof key === "string" && !secret ? { public: key } : key,
          decode: { complete: true },
          verify: { algorithms: [algorithm], allowedIss: one.issuer, allowedAud: one.audience, checkTyp: "at+jwt" },
        });
        app.get("/", async (request) => {
          await request.jwtVerify();
          return JSON.stringify(request.user.sub);
        });
        const answer = await app.inject({ url: "/", headers: { authorization: `Bearer ${one.token}` } });
        await app.close();
        const status = FASTIFY_REFUSALS.includes(answer.json().code) ? 401 : answer.statusCode;
        return refusedOr(status, () => answer.json());
      };
    },
  },
};

async function answered(app, token) {
  const server = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  try {
    const url = `http://127.0.0.1:${server.address().port}/`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    const body = await answer.text();
    return refusedOr(answer.status, () => JSON.parse(body));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

// A refusal is a 401. Anything else that is not a success is a fault of this script, and is not taken for a refusal.
function refusedOr(status, read) {
  if (status === 200) return read();
  throw Object.assign(new Error(`status ${status}`), { refused: status === 401 });
}

// jsonwebtoken lets a plain TypeError through for an ECDSA signature of the wrong length.
const REFUSALS = /^(ERR_J|JsonWebTokenError:|TokenExpiredError:|NotBeforeError:|TypeError: "ES\d+" signatures must be)/;

async function read(reader, one) {
  try {
    return await reader(one);
  } catch (error) {
    if (error.refused || REFUSALS.test(error.code ?? `${error.name}: ${error.message}`)) return null;
    throw error;
  }
}

const results = {};
for (const given of await json(process.stdin)) {
  for (const [library, { algorithms, reader }] of Object.entries(LIBRARIES)) {
    if (!algorithms.includes(given.algorithm)) continue;
    const use = await reader(given);
    const found = {};
    for (const [name, one] of Object.entries(given.readings)) found[name] = await read(use, one);
    (results[library] ??= {})[given.algorithm] = found;
  }
}
console.log(JSON.stringify(results));
