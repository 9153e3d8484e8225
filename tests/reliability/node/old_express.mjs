// An Express application of before, as the tutorials have it, with mongoose, bcryptjs and jsonwebtoken: someone
// registers and logs in over HTTP. There is no MongoDB here: documents that mongoose has checked stay in memory.
//
// stdin:  {secret, username, email, password}
// stdout: {access, id: as its own middleware sees it, exported: the line of mongoexport}
import { once } from "node:events";
import { json } from "node:stream/consumers";

import bcrypt from "bcryptjs";
import express from "express";
import jsonwebtoken from "jsonwebtoken";
import mongoose from "mongoose";

import { exported } from "./mongoexport.mjs";

const { secret, ...person } = await json(process.stdin);
const User = mongoose.model("User", new mongoose.Schema({
  username: { type: String, required: true, unique: true },
  email: { type: String, required: true, lowercase: true, trim: true },
  password: { type: String, required: true },
}, { timestamps: true }));
const collection = new Map();

const app = express();
app.use(express.json());
app.post("/register", async (request, response) => {
  const user = new User(request.body);
  user.password = await bcrypt.hash(request.body.password, await bcrypt.genSalt(10));
  await user.validate();
  user.initializeTimestamps();
  collection.set(user.username, user);
  response.status(201).end();
});
app.post("/login", async (request, response) => {
  const user = collection.get(request.body.username);
  if (!user || !(await bcrypt.compare(request.body.password, user.password))) return response.status(400).end();
  const payload = { user: { id: user.id } };
  response.json({ token: jsonwebtoken.sign(payload, secret, { expiresIn: "7d" }) });
});
app.get("/me", (request, response) => {
  const token = request.header("Authorization").split(" ")[1];
  response.json({ id: jsonwebtoken.verify(token, secret).user.id });
});

const server = app.listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${server.address().port}`;
const post = (path, body) => fetch(url + path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
});
await post("/register", person);
const { token } = await (await post("/login", person)).json();
const seen = await (await fetch(`${url}/me`, { headers: { Authorization: `Bearer ${token}` } })).json();
server.close();
console.log(JSON.stringify({ access: token, id: seen.id, exported: exported(collection.get(person.username)) }));
