// Signs tokens with other people's libraries, with keys made here.
//
// stdin:  {claims, secret, secretKid}
// stdout: [{library, algorithm, token, key: the public JWK, or one with the shared secret}]
import { generateKeyPairSync } from "node:crypto";
import { json } from "node:stream/consumers";

import { createSigner } from "fast-jwt";
import { SignJWT } from "jose";
import jsonwebtoken from "jsonwebtoken";

const { claims, secret, secretKid } = await json(process.stdin);
const header = (key) => ({ typ: "at+jwt", kid: key === secret ? secretKid : "theirs" });

function keyPair(algorithm) {
  const rsa = () => generateKeyPairSync("rsa", { modulusLength: 2048 });
  const make = {
    ES256: () => generateKeyPairSync("ec", { namedCurve: "P-256" }),
    ES384: () => generateKeyPairSync("ec", { namedCurve: "P-384" }),
    ES512: () => generateKeyPairSync("ec", { namedCurve: "P-521" }),
    RS256: rsa,
    RS512: rsa,
    PS256: rsa,
    PS512: rsa,
    EdDSA: () => generateKeyPairSync("ed25519"),
    Ed25519: () => generateKeyPairSync("ed25519"),
  }[algorithm];
  return make();
}

const SIGNERS = {
  jose: {
    algorithms: ["ES256", "ES384", "ES512", "RS256", "RS512", "PS256", "PS512", "EdDSA", "Ed25519", "HS256"],
    sign: (key, alg) =>
      new SignJWT(claims)
        .setProtectedHeader({ ...header(key), alg })
        .sign(typeof key === "string" ? new TextEncoder().encode(key) : key),
  },
  jsonwebtoken: {
    algorithms: ["ES256", "ES384", "RS256", "PS256", "HS256"],
    sign: (key, algorithm) => jsonwebtoken.sign(claims, key, { algorithm, header: header(key) }),
  },
  // The signer of @fastify/jwt.
  "fast-jwt": {
    algorithms: ["ES256", "RS256", "PS256", "EdDSA", "HS256"],
    sign: (key, algorithm) => {
      const pem = typeof key === "string" ? key : key.export({ type: "pkcs8", format: "pem" });
      return createSigner({ key: pem, algorithm, header: header(key) })(claims);
    },
  },
};

const made = [];
for (const [library, { algorithms, sign }] of Object.entries(SIGNERS)) {
  for (const algorithm of algorithms) {
    if (algorithm === "HS256") {
      const key = { kty: "oct", k: Buffer.from(secret).toString("base64url"), alg: algorithm, kid: secretKid };
      made.push({ library, algorithm, token: await sign(secret, algorithm), key });
    } else {
      const { publicKey, privateKey } = keyPair(algorithm);
      const key = { ...publicKey.export({ format: "jwk" }), alg: algorithm, kid: "theirs" };
      made.push({ library, algorithm, token: await sign(privateKey, algorithm), key });
    }
  }
}
console.log(JSON.stringify(made));
