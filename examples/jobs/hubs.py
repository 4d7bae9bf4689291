"""Where hubs would have to stand: k-means, in plain Python. All of this takes time, and runs in worker processes."""

import csv
import math
from random import Random


def read_places(data: bytes) -> list[tuple[float, float, str]]:
    """Read a CSV by its columns latitude and longitude, into km on a flat map. ValueError says what is wrong."""
    rows = csv.DictReader(data.decode("utf-8-sig").splitlines(keepends=True))
    if not {"latitude", "longitude"} <= {*(rows.fieldnames or ())}:
        raise ValueError("its first line has to name the columns, latitude and longitude among them")
    found = [(float(row["longitude"] or ""), float(row["latitude"] or ""), str(row.get("name"))[:60]) for row in rows]
    if not all(abs(across) <= 180 and abs(up) <= 90 for across, up, _ in found):
        raise ValueError("a place is nowhere on Earth")
    width = 111.2 * math.cos(math.radians(sum(up for _, up, _ in found) / max(1, len(found))))
    return [(across * width, up * 111.2, name) for across, up, name in found]


def search(places: list[tuple[float, float, str]], k: int, seed: int) -> tuple[float, list[tuple[int, int, int, str]]]:
    """Each place goes to its nearest hub, each hub amid its places, and so on. Returns how far it is, and the hubs."""
    hubs, far, before = [place[:2] for place in Random(seed).sample(places, k)], 1e9, math.inf
    while far < 0.9995 * before:
        sums, total, before = [[0.0, 0.0, 0] for _ in hubs], 0.0, far
        for x, y, _ in places:
            mine, least = sums[0], math.inf
            for (across, up), its in zip(hubs, sums, strict=True):
                square = (x - across) ** 2 + (y - up) ** 2
                if square < least:
                    mine, least = its, square
            mine[0], mine[1], mine[2], total = mine[0] + x, mine[1] + y, mine[2] + 1, total + least
        hubs = [(x / n, y / n) if n else hub for (x, y, n), hub in zip(sums, hubs, strict=True)]
        far = math.sqrt(total / len(places))
    near = [min(places, key=lambda place: math.dist(place[:2], hub))[2] for hub in hubs]
    return far, [(round(x), round(y), int(n), name) for (x, y), (*_, n), name in zip(hubs, sums, near, strict=True)]
