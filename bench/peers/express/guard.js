// One route bare and the same route behind the tutorials' middleware (jsonwebtoken, HS256), with nothing else in the
// application: no body parser, no cookies, no users. A yardstick, not an example.
import { randomBytes, randomUUID } from 'node:crypto';

import express from 'express';
import jwt from 'jsonwebtoken';

const SECRET = randomBytes(32).toString('hex');

function authenticate(req, res, next) {
  const token = req.headers.authorization?.split(' ')[1];
  if (!token) return res.status(401).json({ error: 'Access token required' });
  try {
    req.user = jwt.verify(token, SECRET, { algorithms: ['HS256'] });
  } catch (error) {
    const expired = error.name === 'TokenExpiredError';
    return res.status(401).json({ error: expired ? 'Token expired' : 'Invalid token' });
  }
  next();
}

const app = express();
app.get('/token', (req, res) => {
  const id = randomUUID();
  res.send(jwt.sign({ id, username: `bencher ${id}` }, SECRET, { expiresIn: '15m' }));
});
app.get('/bare', (req, res) => {
  res.json({ user_id: '00000000-0000-0000-0000-000000000000' });
});
app.get('/guarded', authenticate, (req, res) => {
  res.json({ user_id: req.user.id });
});

app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', (error) => {
  if (error) throw error;
});
