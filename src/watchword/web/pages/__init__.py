"""Pages for people: rendered here, without a script, and readable on a phone."""
