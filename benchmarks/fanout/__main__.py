"""``python -m benchmarks.fanout`` or ``python benchmarks/fanout``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for a start as a folder

from benchmarks.fanout.command import main

main()
