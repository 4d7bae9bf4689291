"""Runs: streams that outlive their readers, and that end once, whatever becomes of their process."""

from .run import Run
from .runs import Runs

__all__ = ["Run", "Runs"]
