"""How many servers so many clients need, and what to set on them (``triolet plan``).

- ``Question``: what is asked; ``work_out``: the answer, a ``Plan``
- ``FIGURES``: what was measured, and on which page it stands
"""

from .arithmetic import Load, Plan, work_out
from .figures import FIGURES, Figure
from .kernel import Setting
from .question import TRANSPORTS, Question

__all__ = ["FIGURES", "TRANSPORTS", "Figure", "Load", "Plan", "Question", "Setting", "work_out"]
