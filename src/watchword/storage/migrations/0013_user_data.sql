-- serves: 0012
-- What operators keep with a user, as JSON objects: `identity/user_data.py` bounds them.
ALTER TABLE ww_users ADD COLUMN name TEXT;                                     -- what to call them; null: nothing known
ALTER TABLE ww_users ADD COLUMN public_metadata TEXT NOT NULL DEFAULT '{}';    -- the user may read it, and not write it
ALTER TABLE ww_users ADD COLUMN private_metadata TEXT NOT NULL DEFAULT '{}';   -- for operators only
