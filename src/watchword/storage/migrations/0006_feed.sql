-- Revocations are stored without a number and numbered once they are committed: no log-out waits for another's commit.
CREATE TABLE ww_revocations_next (
    id TEXT PRIMARY KEY,
    seq BIGINT,                 -- its place in the feed; null until it has one
    kind TEXT NOT NULL,         -- session, user, key
    subject TEXT NOT NULL,
    min_version BIGINT,         -- user: tokens with a lower `ver` are refused
    expires_at BIGINT           -- null: never
);
INSERT INTO ww_revocations_next (id, seq, kind, subject, min_version, expires_at)
    SELECT CAST(seq AS TEXT), seq, kind, subject, min_version, expires_at FROM ww_revocations;
DROP TABLE ww_revocations;
ALTER TABLE ww_revocations_next RENAME TO ww_revocations;
CREATE UNIQUE INDEX ww_revocations_seq ON ww_revocations (seq);
CREATE INDEX ww_revocations_expiry ON ww_revocations (expires_at);
-- What still has no number: empty almost always.
CREATE INDEX ww_revocations_unnumbered ON ww_revocations (id) WHERE seq IS NULL;
