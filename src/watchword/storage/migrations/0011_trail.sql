-- serves: 0010
-- Audit records are chained after their commit: what is changed, removed or moved is found. See identity/trail/.

ALTER TABLE ww_audit ADD COLUMN position BIGINT;    -- in the chain; null: not chained yet
ALTER TABLE ww_audit ADD COLUMN hash TEXT;          -- SHA-256 of the hash before it and of this record
ALTER TABLE ww_audit ADD COLUMN personal TEXT;      -- a salted digest of address and agent, in their place in the hash
ALTER TABLE ww_audit ADD COLUMN salt TEXT;          -- null once chained: address and agent were erased
-- The chain's. No insert writes the first one, and the second is empty almost always.
CREATE INDEX ww_audit_position ON ww_audit (position, id) WHERE position IS NOT NULL;
CREATE INDEX ww_audit_unchained ON ww_audit (id) WHERE position IS NULL;
-- A user's own, newest first.
DROP INDEX ww_audit_user;
CREATE INDEX ww_audit_activity ON ww_audit (user_id, id);
-- What a user did to others.
CREATE INDEX ww_audit_actor ON ww_audit (actor_id, id) WHERE user_id IS NULL OR actor_id <> user_id;

-- One row, once anything is chained: where the chain ends. Only what chains locks it.
CREATE TABLE ww_audit_head (
    id BIGINT PRIMARY KEY,
    position BIGINT NOT NULL,
    hash TEXT NOT NULL
);

CREATE TABLE ww_audit_checkpoints (
    position BIGINT PRIMARY KEY,
    hash TEXT NOT NULL,         -- of the record there
    at BIGINT NOT NULL,
    newest_at BIGINT NOT NULL,  -- of the records since the checkpoint before
    signer TEXT NOT NULL,       -- the id of the master secret of the MACs
    mac TEXT NOT NULL,
    cut_at BIGINT,              -- records up to here are past their retention
    cut_mac TEXT
);

-- Whose addresses and agents are erased from the records, and from when on.
CREATE TABLE ww_audit_erasures (
    user_id TEXT PRIMARY KEY,
    due_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL     -- the last time: what is written meanwhile is erased too
);
