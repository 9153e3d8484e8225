"""Moves users in and out: what the files hold, what other applications' tables hold, and the two commands."""
