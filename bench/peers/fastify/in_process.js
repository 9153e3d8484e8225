// fast-jwt (what @fastify/jwt verifies with), HS256, a token that its cache has seen: median of batches, microseconds.
import { randomBytes, randomUUID } from 'node:crypto';

import { createSigner, createVerifier } from 'fast-jwt';

const BATCH = 1000;
const BATCHES = 300;
const key = randomBytes(32).toString('hex');
const verify = createVerifier({ key, algorithms: ['HS256'], cache: true });
const signed = createSigner({ key, expiresIn: 900_000 })({ sub: randomUUID(), username: 'bencher' });

const times = [];
for (let batch = 0; batch < BATCHES + 50; batch += 1) {
  const started = process.hrtime.bigint();
  for (let i = 0; i < BATCH; i += 1) verify(signed);
  if (batch >= 50) times.push(Number(process.hrtime.bigint() - started) / 1000 / BATCH);
}
times.sort((a, b) => a - b);
console.log(JSON.stringify({ cached: times[BATCHES / 2] }));
