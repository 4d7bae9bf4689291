"""What every end-to-end test shares: processes that it starts begin with no signal ignored, whatever started the tests.

What runs under nohup, or behind ``&`` in a script, ignores SIGHUP or SIGINT, and so do all that it starts; Triolet leaves
ignored what it finds so. A handler, unlike that, is not handed down.
"""

from __future__ import annotations

import signal

for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
