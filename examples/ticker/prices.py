"""Real prices: five shares at the first of each month from 2000 to 2010, from the package ``vega-datasets``."""

import csv
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final

NAMES: Final = {"MSFT": "Microsoft", "AMZN": "Amazon", "IBM": "IBM", "GOOG": "Google", "AAPL": "Apple"}

Month = tuple[str, dict[str, float]]
"""A date as ``2004-08-01``, and the price of each share that was traded then (Google's from August 2004)."""


def read_months() -> list[Month]:
    """Read the months in order. The file is read where it lies: importing the package would import pandas."""
    spec = find_spec("vega_datasets")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the prices are in vega-datasets: pip install vega-datasets")
    months: dict[str, dict[str, float]] = {}
    with (Path(spec.origin).parent / "_data" / "stocks.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            date = datetime.strptime(row["date"], "%b %d %Y").strftime("%Y-%m-%d")
            months.setdefault(date, {})[row["symbol"]] = float(row["price"])
    return sorted(months.items())
