"""The metrics of several workers as one text: each sample with its worker's number as a label."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["CONTENT_TYPE", "merge"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

HELP = {
    "workers": "Workers that there should be.",
    "workers_serving": "Workers that serve; those that drain are none.",
    "worker_restarts_total": "Workers started again at a place where one had ended.",
    "worker_answers": "0 for a worker that has not told its metrics in time, and 1 for each other.",
}


def merge(
    texts: Mapping[int, bytes], own: Mapping[str, float], answers: Mapping[int, bool] = MappingProxyType({})
) -> tuple[str, bytes]:
    """Merge texts in Prometheus's format.

    Args:
        texts: the text of each worker, by its number.
        own: the supervisor's own values, by the names in ``HELP``.
        answers: whether each worker that was asked has answered, by its number.

    Returns:
        The content type and the text, a family's samples together as the format wants it.
    """
    families: dict[str, list[str]] = {}
    for number, text in texts.items():
        heads: list[str] = []
        for line in text.decode().splitlines():
            if line.startswith("#"):
                heads.append(line)
                continue
            if heads:
                family = families.setdefault("\n".join(heads), [])
                heads = []
            family.append(_labelled(line, number))
    lines = [line for head, samples in families.items() for line in (head, *samples)]
    for name, value in own.items():
        lines += [*_heads(name), f"triolet_{name} {value:.1f}"]
    if answers:
        told = [f'triolet_worker_answers{{worker="{number}"}} {there:.1f}' for number, there in answers.items()]
        lines += [*_heads("worker_answers"), *told]
    return CONTENT_TYPE, "\n".join([*lines, ""]).encode()


def _heads(name: str) -> list[str]:
    kind = "counter" if name.endswith("_total") else "gauge"
    return [f"# HELP triolet_{name} {HELP[name]}", f"# TYPE triolet_{name} {kind}"]


def _labelled(line: str, number: int) -> str:
    """Return a sample with one more label. A name holds neither a brace nor a space, so the first of them ends it."""
    series, _, value = line.rpartition(" ")
    name, brace, labels = series.partition("{")
    return f'{name}{{worker="{number}"{"," + labels if brace else "}"} {value}'
