"""`python -m watchword.cli`: the same as `watchword`."""

from watchword.cli import main

if __name__ == "__main__":
    main()
