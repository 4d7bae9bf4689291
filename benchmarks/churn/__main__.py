"""``python -m benchmarks.churn``"""

from __future__ import annotations

from benchmarks.churn.command import main

if __name__ == "__main__":
    main()
