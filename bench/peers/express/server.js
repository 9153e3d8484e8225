// The tutorials' own application: one process, users in an array, two secrets, nothing stored about a log-in.
// It is a yardstick, not an example: nobody should run it for anything else.
import { randomBytes, randomUUID } from 'node:crypto';

import * as argon2 from '@node-rs/argon2';
import bcrypt from 'bcryptjs';
import cookieParser from 'cookie-parser';
import express from 'express';
import jwt from 'jsonwebtoken';

const ACCESS_SECRET = process.env.ACCESS_TOKEN_SECRET ?? randomBytes(32).toString('hex');
const REFRESH_SECRET = process.env.REFRESH_TOKEN_SECRET ?? randomBytes(32).toString('hex');
const ACCESS_LIFE = '15m';
const REFRESH_LIFE = '7d';
const BCRYPT_COST = Number(process.env.BCRYPT_COST ?? 10);
const ARGON2 = { algorithm: argon2.Algorithm.Argon2id, memoryCost: 19456, timeCost: 2, parallelism: 1 };
const passwords = {
  bcrypt: {
    hash: (password) => bcrypt.hash(password, BCRYPT_COST),
    verify: (password, hash) => bcrypt.compare(password, hash),
  },
  argon2id: {
    hash: (password) => argon2.hash(password, ARGON2),
    verify: (password, hash) => argon2.verify(hash, password),
  },
}[process.env.HASH ?? 'bcrypt'];
const COOKIE = {
  httpOnly: true,
  sameSite: 'strict',
  secure: process.env.COOKIE_SECURE === '1', // off here: the bench speaks plain HTTP on loopback
  maxAge: 7 * 24 * 60 * 60 * 1000,
};

const users = [];

const signAccess = (user) =>
  jwt.sign({ id: user.id, username: user.username }, ACCESS_SECRET, { expiresIn: ACCESS_LIFE });

const signRefresh = (user) =>
  jwt.sign({ id: user.id, username: user.username }, REFRESH_SECRET, { expiresIn: REFRESH_LIFE });

function authenticate(req, res, next) {
  const token = req.headers.authorization?.split(' ')[1];
  if (!token) return res.status(401).json({ error: 'Access token required' });
  try {
    req.user = jwt.verify(token, ACCESS_SECRET, { algorithms: ['HS256'] });
  } catch (error) {
    const expired = error.name === 'TokenExpiredError';
    return res.status(401).json({ error: expired ? 'Token expired' : 'Invalid token' });
  }
  next();
}

const app = express();
app.use(express.json());
app.use(cookieParser());

app.post('/register', async (req, res) => {
  const { username, password } = req.body ?? {};
  if (!username || !password) return res.status(400).json({ error: 'Username and password are required' });
  if (users.some((user) => user.username === username)) return res.status(409).json({ error: 'Username taken' });
  const user = { id: randomUUID(), username, passwordHash: await passwords.hash(password) };
  users.push(user);
  res.status(201).json({ id: user.id, username });
});

app.post('/login', async (req, res) => {
  const { username, password } = req.body ?? {};
  if (!username || !password) return res.status(400).json({ error: 'Username and password are required' });
  const user = users.find((candidate) => candidate.username === username);
  if (!user || !(await passwords.verify(password, user.passwordHash))) {
    return res.status(401).json({ error: 'Invalid credentials' });
  }
  res.cookie('refreshToken', signRefresh(user), COOKIE);
  res.json({ accessToken: signAccess(user) });
});

app.post('/refresh', (req, res) => {
  const token = req.cookies.refreshToken;
  if (!token) return res.status(401).json({ error: 'Refresh token required' });
  try {
    const user = jwt.verify(token, REFRESH_SECRET, { algorithms: ['HS256'] });
    res.json({ accessToken: signAccess(user) });
  } catch {
    res.status(401).json({ error: 'Invalid refresh token' });
  }
});

app.get('/profile', authenticate, (req, res) => {
  const user = users.find((candidate) => candidate.id === req.user.id);
  if (!user) return res.status(404).json({ error: 'User not found' });
  res.json({ id: user.id, username: user.username });
});

app.post('/logout', (req, res) => {
  res.clearCookie('refreshToken', { ...COOKIE, maxAge: undefined });
  res.json({ message: 'Logged out' });
});

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', (error) => {
  if (error) throw error;
  console.log(`listening on ${server.address().port}`);
});
