"""Take the pictures of all examples, for the documentation, each from the running example: ``make pictures``.

An example's test file says in ``show`` how its page comes to show all that it can (in ``pose``, where a picture takes
longer than a test may), and in ``ENVIRONMENT`` what it is started with.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path

from tests.e2e.browser import open_browser
from tests.e2e.looks import DESK, TELEPHONE

from .stage import served

PICTURES = Path(__file__).parents[3] / "docs" / "pictures"


def main() -> None:
    """Take those of the named examples, or of all."""
    names = sys.argv[1:] or sorted(path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py"))
    PICTURES.mkdir(exist_ok=True)
    with open_browser() as browser:
        for name in names:
            example = import_module(f"{__package__}.test_{name}")
            environment = getattr(example, "ENVIRONMENT", {})
            with tempfile.TemporaryDirectory() as folder, served(name, Path(folder), environment) as server:
                for (width, height), dark, ending in ((DESK, False, ""), (TELEPHONE, True, "-telephone")):
                    with browser.page(server.url, width=width, height=height, dark=dark) as page:
                        page.still(dark=dark)
                        getattr(example, "pose", example.show)(page)
                        page.screenshot(PICTURES / f"{name}{ending}.png")


if __name__ == "__main__":
    main()
