// The models of three tutorials, with the shapes of roles that they use.
//
// stdin:  {password}
// stdout: [the lines of mongoexport]
import { json } from "node:stream/consumers";

import bcrypt from "bcryptjs";
import mongoose from "mongoose";

import { exported } from "./mongoexport.mjs";

const { password } = await json(process.stdin);
const hash = await bcrypt.hash(password, 10);
const { Schema } = mongoose;
const numbered = mongoose.model("Numbered", new Schema({
  username: { type: String, required: true },
  email: String,
  password: { type: String, required: true },
  roles: { User: { type: Number, default: 2001 }, Editor: Number, Admin: Number },
}, { timestamps: true }));
const flagged = mongoose.model("Flagged", new Schema({
  username: { type: String, required: true, unique: true },
  password: { type: String, required: true },
  isAdmin: { type: Boolean, default: false },
  role: { type: String, enum: ["user", "admin"], default: "user" },
  refreshToken: [String],
  createdAt: { type: Date, default: Date.now },
}));
const listed = mongoose.model("Listed", new Schema({
  _id: Number,
  email: { type: String, lowercase: true },
  password: String,
  roles: [String],
  isVerified: Boolean,
  active: { type: Boolean, default: true },
}));

const ada = new numbered({
  _id: "64b7f0c2a1b2c3d4e5f60718", username: "ada", email: "Ada@example.com", password: hash,
  roles: { Admin: 5150, Editor: null }, createdAt: "2023-07-19T14:18:26.123Z",
});
const bert = new flagged({
  _id: "64b7f0c2a1b2c3d4e5f60719", username: "bert", password: hash, isAdmin: true, refreshToken: ["x"],
  createdAt: 1689776306123,
});
const carl = new listed({ _id: 7, email: "Carl@example.com", password: hash, roles: ["user"], isVerified: true, active: false });
for (const each of [ada, bert, carl]) await each.validate();
ada.initializeTimestamps();
console.log(JSON.stringify([exported(ada, "canonical"), exported(bert), exported(carl)]));
