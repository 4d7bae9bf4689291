"""What the documentation takes from the code, so that no page can differ from it: one module for each thing.

``closings``, ``limits``, ``promises``, ``metrics``, ``command_line``, ``jsdoc`` and ``llms`` make text, and know nothing of
Sphinx; tests ask them. ``drawn``, ``references`` and ``docstrings`` are what Sphinx is told, and ``conf.py`` names them.
"""
