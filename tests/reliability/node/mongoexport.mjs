// What mongoexport writes of a document: its BSON as Extended JSON, by MongoDB's own library.
import mongoose from "mongoose";

const { BSON } = mongoose.mongo;

// form: "relaxed", which is mongoexport's default, or "canonical".
export function exported(document, form = "relaxed") {
  const stored = BSON.deserialize(BSON.serialize(document.toObject()), { promoteValues: form === "relaxed" });
  return BSON.EJSON.stringify(stored, { relaxed: form === "relaxed" });
}
