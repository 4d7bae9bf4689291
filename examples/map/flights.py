"""Planes to and fro between airports, on great circles: where one is follows from the time alone."""

import csv
from importlib.util import find_spec
from math import acos, asinh, atan2, cos, degrees, hypot, pi, radians, sin, tan
from pathlib import Path
from random import Random
from typing import Any, Final

BUSIEST: Final = """ATL DFW DEN ORD LAX JFK LAS MCO MIA CLT SEA PHX SFO IAH BOS MSP DTW PHL SLC SAN DCA TPA BNA AUS STL
    PDX MSY MCI RDU SMF SAT PIT CLE IND CMH JAX MEM OKC OMA ABQ BOI ELP TUS BUF GEG BIL FAR LIT DSM RNO FSD BIS GTF"""
SPEED: Final = 14 / 6371  # radians a second: 840 km/h, sixty times as fast
TILES: Final = [f"{x}/{y}" for x in range(9, 21) for y in range(21, 28)]  # of the usual web map, at zoom 6


def read_airports() -> list[dict[str, Any]]:
    """Read the busiest, in that order. The file is read where it lies: importing the package would import pandas."""
    if (spec := find_spec("vega_datasets")) is None or spec.origin is None:
        raise FileNotFoundError("the airports are in vega-datasets: pip install vega-datasets")
    with (Path(spec.origin).parent / "_data" / "airports.csv").open(newline="") as file:
        rows = {row["iata"]: row for row in csv.DictReader(file)}
    places = [(rows[code], float(rows[code]["latitude"]), float(rows[code]["longitude"])) for code in BUSIEST.split()]
    return [{"code": row["iata"], "city": row["city"], "lat": lat, "lon": lon} for row, lat, lon in places]


def tile_of(lat: float, lon: float) -> str:
    """The tile over which a place is: ``17/24``."""
    return f"{int((lon + 180) / 360 * 64)}/{int((1 - asinh(tan(radians(lat))) / pi) / 2 * 64)}"


class Plane:
    def __init__(self, number: int, airports: list[dict[str, Any]]) -> None:
        start, goal = Random(number).sample(airports, 2)
        self.ends = (start["code"], _vector(**start)), (goal["code"], _vector(**goal))
        self.angle = acos(sum(p * q for p, q in zip(self.ends[0][1], self.ends[1][1], strict=True)))
        self.ahead = 997.0 * number  # seconds, so that not all start together

    def where(self, seconds: float) -> dict[str, Any]:
        """Where it is at a time, as pages are told."""
        flights, flying = divmod(seconds + self.ahead, self.angle / SPEED + 20)  # then 20 s on the ground
        start, goal = self.ends if flights % 2 else reversed(self.ends)
        done = min(1.0, flying * SPEED / self.angle)
        near, far = sin((1 - done) * self.angle), sin(done * self.angle)
        x, y, z = (p * near + q * far for p, q in zip(start[1], goal[1], strict=True))
        lat, lon = round(degrees(atan2(z, hypot(x, y))), 4), round(degrees(atan2(y, x)), 4)
        return {"lat": lat, "lon": lon, "from": start[0], "to": goal[0], "done": round(done, 3)}


def _vector(lat: float, lon: float, **_: str) -> tuple[float, float, float]:
    return cos(radians(lat)) * cos(radians(lon)), cos(radians(lat)) * sin(radians(lon)), sin(radians(lat))
