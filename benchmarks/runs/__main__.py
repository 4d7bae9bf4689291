"""The command line: see benchmarks/runs/command.py."""

from __future__ import annotations

from benchmarks.runs.command import main

if __name__ == "__main__":
    main()
