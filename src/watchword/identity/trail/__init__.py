"""The trail of audit records: chained, signed, cut, erased from, read and verified."""
