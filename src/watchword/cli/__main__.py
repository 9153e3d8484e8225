"""Runs `watchword` as `python -m watchword.cli`."""

from watchword.cli import main

if __name__ == "__main__":
    main()
