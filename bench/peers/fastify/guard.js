// One route bare and the same route behind @fastify/jwt, HS256, as its documentation shows it; CACHE=1: with its cache
// of verified tokens. A yardstick, not an example.
import { randomBytes, randomUUID } from 'node:crypto';

import jwt from '@fastify/jwt';
import Fastify from 'fastify';

const app = Fastify();
await app.register(jwt, {
  secret: randomBytes(32).toString('hex'),
  verify: process.env.CACHE === '1' ? { cache: true } : {},
});
app.decorate('authenticate', async (request) => {
  await request.jwtVerify();
});

app.get('/token', async () => {
  const id = randomUUID();
  return app.jwt.sign({ sub: id, username: `bencher ${id}` }, { expiresIn: '15m' });
});
app.get('/bare', async () => ({ user_id: '00000000-0000-0000-0000-000000000000' }));
app.get('/guarded', { onRequest: [app.authenticate] }, async (request) => ({ user_id: request.user.sub }));

await app.listen({ port: Number(process.env.PORT ?? 3000), host: '127.0.0.1' });
