"""The HTTP vocabulary. Knows no feature."""
