"""The command ``triolet``."""

from .app import load_app
from .command import main
from .options import add_arguments
from .serve import settings_for

__all__ = ["add_arguments", "load_app", "main", "settings_for"]
