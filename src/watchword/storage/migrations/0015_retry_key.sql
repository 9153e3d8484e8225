-- serves: 0014
-- The key that a client sent with the last refresh: only with it the answer may be asked for again after the grace.
ALTER TABLE ww_sessions ADD COLUMN retry_mac TEXT NOT NULL DEFAULT '';         -- under the session's handle; '': none
ALTER TABLE ww_sessions ADD COLUMN retry_generation BIGINT NOT NULL DEFAULT 0; -- which the refresh with it made
