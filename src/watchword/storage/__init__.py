"""Stores of rows and of short-lived values."""
