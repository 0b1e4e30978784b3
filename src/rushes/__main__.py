"""`python -m rushes`: the same as the command `rushes`."""

from __future__ import annotations

from rushes.cli import main

if __name__ == "__main__":
    main()
