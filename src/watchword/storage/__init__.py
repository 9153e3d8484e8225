"""Stores of rows and short-lived values."""
