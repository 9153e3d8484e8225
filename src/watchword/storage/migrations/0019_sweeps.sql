-- serves: 0018
-- What a sweep looks for is found by an index, however much stays.
CREATE INDEX ww_audit_erasures_due ON ww_audit_erasures (due_at, user_id);
CREATE INDEX ww_audit_checkpoints_signer ON ww_audit_checkpoints (signer, position);
