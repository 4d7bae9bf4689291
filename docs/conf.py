"""The documentation's settings. ``make docs`` builds it; warnings are errors."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `_ext`, which stands beside the pages
sys.path.insert(0, str(Path(__file__).parents[1]))  # `tests`, whose table of promises is printed

project = "Triolet"
author = "The Triolet authors"
copyright = author
release = version = version_of("triolet")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "_ext.docstrings",
    "_ext.drawn",
    "_ext.llms",
    "_ext.references",
]
exclude_patterns = ["_build"]

smartquotes_action = "qe"  # no dashes: -- begins an option

html_theme = "furo"
html_title = f"Triolet {release}"
html_copy_source = False
html_extra_path = ["_build/extra"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_ivar = True
napoleon_custom_sections = ["Bounds", "Cancellation"]
