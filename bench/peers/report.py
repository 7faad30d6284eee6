"""The one line of JSON that a benchmark prints, in the shape of bench/report.ts."""

import json
import os
import platform
import sys
from pathlib import Path
from statistics import median


def say(text: str) -> None:
    """Tells a person how far it is."""
    print(text, file=sys.stderr, flush=True)


def report_line(
    case: str, unit: str, rows: int, config: dict, figures: list[float], limits: list[float] = ()
) -> str:
    """The line: medians, and the range of the ratios of the pairs if there is a limit."""
    line = {"bench": "peers", "case": case, "figure": rounded(median(figures)), "unit": unit}
    if limits:
        ratios = sorted(figure / limit for figure, limit in zip(figures, limits, strict=True))
        line["limit"] = rounded(median(limits))
        line["ratio"] = rounded(median(ratios))
        line["ratio_range"] = [rounded(ratios[0]), rounded(ratios[-1])]
        line["pairs"] = len(ratios)
    line |= {"rows": rows, "config": config, "machine": machine()}
    return json.dumps(line, separators=(",", ":"))


def machine() -> dict:
    """Where it was measured."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def rounded(value: float) -> float:
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short
