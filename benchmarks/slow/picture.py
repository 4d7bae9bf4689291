"""What was seen, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from benchmarks.slow.run import FAST, PHASES, Run

__all__ = ["draw", "table"]


def quantile(values: Sequence[float], part: float) -> float:
    """The value that this part of all is not above; 0 where there are none."""
    return sorted(values)[int(part * (len(values) - 1))] if values else 0.0


def table(runs: Sequence[Run]) -> str:
    """One line for each policy and phase."""
    lines = [
        "| policy | the slow client | most events behind | kept for it, kB | in the kernel, kB | held in all, kB "
        "| its latency, p50 / p99, ms | the others', p50 / p99, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        for phase, (begin, end) in PHASES.items():
            samples = [sample for sample in run.samples if begin <= sample.at < end]
            own = [late * 1000 for client in run.slow for at, late in client.latencies if begin <= at < end]
            others = [late * 1000 for client in run.fast for at, late in client.latencies if begin <= at < end]
            late = f"{quantile(own, 0.5):,.0f} / {quantile(own, 0.99):,.0f}" if own else "nothing read"
            lines.append(
                f"| {run.policy} | {phase} | {max(sample.lag or 0 for sample in samples):,} "
                f"| {max(sample.pending for sample in samples) / 1000:.1f} "
                f"| {max(sample.kernel for sample in samples) / 1000:.1f} "
                f"| {max(sample.held for sample in samples) / 1000:.0f} | {late} "
                f"| {quantile(others, 0.5):.1f} / {quantile(others, 0.99):.1f} |"
            )
    for run in runs:
        gaps = [f"{gap['reason']}, {gap['missed']} events" for client in run.slow for gap in client.gaps]
        lines.append(f"\nGaps told under {run.policy}: {'; '.join(gaps) or 'none'}.")
    return "\n".join(lines) + "\n"


def draw(runs: Sequence[Run], target: Path) -> None:
    """Draw lag, memory and latency over time, one above the other."""
    from matplotlib import pyplot
    from PIL import Image

    figure, (lag, memory, latency) = pyplot.subplots(3, 1, sharex=True, figsize=(9, 8.5), layout="constrained")
    for run, colour in zip(runs, ("#c2410c", "#1d4ed8"), strict=True):
        at = [sample.at for sample in run.samples]
        behind = [float("nan") if sample.lag is None else sample.lag for sample in run.samples]
        lag.plot(at, behind, color=colour, label=run.policy)
        memory.plot(at, [sample.pending / 1000 for sample in run.samples], color=colour, label=f"{run.policy}: server")
        memory.plot(
            at,
            [sample.kernel / 1000 for sample in run.samples],
            color=colour,
            lw=1,
            ls=":",
            label=f"{run.policy}: kernel",
        )
        late = [point for client in run.slow for point in client.latencies]
        latency.plot(
            [at for at, _ in late], [late * 1000 for _, late in late], ".", ms=3, color=colour, label=run.policy
        )
        latency.plot(*others(run), color=colour, lw=1, alpha=0.6, label=f"{run.policy}: the other {FAST}, p99")
    latency.set_yscale("log")
    for panel, title in ((lag, "events behind"), (memory, "kB held for it"), (latency, "delivery latency, ms")):
        panel.set_ylabel(title)
        panel.grid(alpha=0.25)
        panel.legend(loc="upper left", fontsize=8, framealpha=0.9)
        for _, end in PHASES.values():
            panel.axvline(end, color="#9ca3af", lw=0.8)
    for phase, (begin, end) in PHASES.items():
        lag.text((begin + end) / 2, 1.02, phase, transform=lag.get_xaxis_transform(), ha="center", fontsize=9)
    latency.set_xlabel("seconds")
    latency.set_xlim(0, PHASES["back"][1])
    drawn = BytesIO()
    figure.savefig(drawn, dpi=90)
    Image.open(drawn).convert("RGB").quantize(64).save(target, optimize=True)


def others(run: Run) -> tuple[list[float], list[float]]:
    """The fast clients' 99th percentile, second by second."""
    seconds: dict[int, list[float]] = {}
    for client in run.fast:
        for at, late in client.latencies:
            seconds.setdefault(int(at), []).append(late * 1000)
    return [second + 0.5 for second in sorted(seconds)], [quantile(seconds[second], 0.99) for second in sorted(seconds)]
