-- serves: 0008
-- Users of another system.
ALTER TABLE ww_users ADD COLUMN external_id TEXT;   -- as that system knows the user; null: registered here
ALTER TABLE ww_users ADD COLUMN imported_at BIGINT;
CREATE UNIQUE INDEX ww_users_external ON ww_users (external_id) WHERE external_id IS NOT NULL;
