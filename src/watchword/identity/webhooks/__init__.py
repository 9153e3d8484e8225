"""Webhooks of the kernel: which events there are, whom they go to, and their way there."""
