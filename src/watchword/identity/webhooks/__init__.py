"""Webhooks of the kernel: which events there are, where they go, and their way there."""
