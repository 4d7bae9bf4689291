"""What the documentation takes from the code, so that no page can differ from it: one module for each thing.

``closings``, ``limits``, ``promises``, ``metrics``, ``command_line``, ``listener``, ``jsdoc``, ``llms`` make text and
know nothing of Sphinx, so that tests can ask them. ``drawn``, ``references`` and ``docstrings`` are what it is told,
and ``conf.py`` names them.
"""
