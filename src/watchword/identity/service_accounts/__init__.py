"""Service accounts: programs with scopes of their own, which prove who they are."""
