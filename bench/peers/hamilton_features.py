"""Hamilton: seconds for the features of features/absences.ts, against polars written by hand."""

import argparse
import gc
import logging
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import features_pandas
import features_polars
import polars as pl
from absences import write_absences
from hamilton import base, driver
from hamilton.plugins.h_polars import PolarsDataFrameResult
from polars.testing import assert_frame_equal
from report import report_line, say

SEASONS, DAYS = range(1, 5), range(2, 7)
OUTPUTS = [
    *("age_mean", "age_std_dev", "age_zero_mean", "age_zero_mean_unit_variance"),
    *(f"seasons_{n}" for n in SEASONS),
    *(f"day_of_the_week_{n}" for n in DAYS),
    *("has_children", "has_pet", "is_summer"),
]
KINDS = {
    "pandas": (features_pandas, base.PandasDataFrameResult()),
    "polars": (features_polars, PolarsDataFrameResult()),
}


def main() -> None:
    options = arguments()
    # On pandas it warns of every scalar that it repeats for all rows.
    logging.getLogger("hamilton").setLevel(logging.ERROR)
    path, rows = str(Path(options.folder) / "absences.parquet"), options.rows
    say(f"hamilton: {rows} rows to parquet")
    write_absences(Path(path), rows)
    for kind, (module, result) in KINDS.items():
        dr = driver.Builder().with_modules(module).with_adapters(result).build()
        hamilton = partial(dr.execute, OUTPUTS, inputs={"path": path})
        say(f"hamilton on {kind}: warm-up, and the same values by both ways")
        assert_frame_equal(as_polars(hamilton()), by_hand(path))
        figures, limits = [], []
        both = [(figures, hamilton), (limits, partial(by_hand, path))]
        for repeat in range(options.repeats):
            # Either goes first in turn.
            for measured, run in reversed(both) if repeat % 2 else both:
                measured.append(seconds(run))
            say(
                f"hamilton on {kind}: pair {repeat + 1} of {options.repeats}: "
                f"{figures[-1]:.2f} s, polars by hand {limits[-1]:.2f} s"
            )
        config = {
            "outputs": len(OUTPUTS),
            "hamilton": version("apache-hamilton"),
            kind: version(kind),
            "limit": f"polars {version('polars')} by hand, lazy",
            "polars_threads": pl.thread_pool_size(),
        }
        print(report_line(f"hamilton on {kind}", "s", rows, config, figures, limits), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="for the data")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    return parser.parse_args()


def by_hand(path: str) -> pl.DataFrame:
    """What one writes without Hamilton: one query, which polars plans as a whole."""
    age = pl.col("age")
    return (
        pl.scan_parquet(path)
        .select(
            age.mean().alias("age_mean"),
            age.std().alias("age_std_dev"),
            (age - age.mean()).alias("age_zero_mean"),
            ((age - age.mean()) / age.std()).alias("age_zero_mean_unit_variance"),
            *(one_hot("seasons", n) for n in SEASONS),
            *(one_hot("day_of_the_week", n) for n in DAYS),
            (pl.col("son") > 0).cast(pl.Int64).alias("has_children"),
            (pl.col("pet") > 0).cast(pl.Int64).alias("has_pet"),
            pl.col("month_of_absence").is_in([1, 2, 12]).cast(pl.Int64).alias("is_summer"),
        )
        .collect()
    )


def one_hot(column: str, of: int) -> pl.Expr:
    return (pl.col(column) == of).cast(pl.Int64).alias(f"{column}_{of}")


def as_polars(frame: object) -> pl.DataFrame:
    return frame if isinstance(frame, pl.DataFrame) else pl.from_pandas(frame)


def seconds(run: Callable[[], object]) -> float:
    """Until the frame is there; to free it is not measured."""
    gc.collect()
    started = time.perf_counter()
    frame = run()
    elapsed = time.perf_counter() - started
    del frame
    return elapsed


if __name__ == "__main__":
    main()
