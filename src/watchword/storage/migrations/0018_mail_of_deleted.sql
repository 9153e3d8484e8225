-- serves: 0017
-- Whose a mail is, so that what was given up goes with the account. Links that are no one's are found by their address.
ALTER TABLE ww_outbox ADD COLUMN user_id TEXT;  -- null: no one's yet, or of an account that is not there yet
CREATE INDEX ww_outbox_user ON ww_outbox (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX ww_one_time_address ON ww_one_time (address_key) WHERE user_id IS NULL;
