"""What the documentation takes from the code, so that no page can differ from it: one module for each thing.

Those that make text know nothing of Sphinx, so that tests can ask them: ``closings``, ``command_line``, ``examples``,
``jsdoc``, ``limits``, ``listener``, ``llms``, ``metrics``, ``promises``. ``drawn``, ``references`` and
``docstrings`` are what Sphinx is told. ``conf.py`` names what Sphinx loads.
"""
