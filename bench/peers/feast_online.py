"""Feast's Python server on twenty stored and fourteen on-demand features, against ours: fills it,
serves it, and has online.ts load both in turn with the same generator."""

import argparse
import contextlib
import json
import multiprocessing
import subprocess
import sys
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from absences import FLOATS, INTEGERS, write_absences
from feast import FeatureService, FeatureStore, Field
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64
from feast_materialize import feature_store, materialize_seconds
from ports import listens
from report import say

HERE = Path(__file__).resolve().parent
FLAGS = [
    *(f"seasons_{value}" for value in range(1, 5)),
    *(f"day_of_the_week_{value}" for value in range(2, 7)),
    *("is_summer", "lives_far", "smokes"),
]
SCORES = ["age_zero_mean", "age_zero_mean_unit_variance"]


def of_one(row: dict) -> dict:
    """The features of one entity: `singleton`, the fastest mode there is, for one at a time."""
    centred = row["age"] - 42.5
    return {
        "age_zero_mean": centred,
        "age_zero_mean_unit_variance": centred / 9.2,
        **{f"seasons_{value}": int(row["seasons"] == value) for value in range(1, 5)},
        **{
            f"day_of_the_week_{value}": int(row["day_of_the_week"] == value)
            for value in range(2, 7)
        },
        "is_summer": int(row["month_of_absence"] in (1, 2, 12)),
        "lives_far": int(row["distance_from_residence_to_work"] > 30),
        "smokes": int(row["social_smoker"] > 0),
    }


def of_many(rows: dict) -> dict:
    """The same of several entities: lists by column."""
    centred = [age - 42.5 for age in rows["age"]]
    return {
        "age_zero_mean": centred,
        "age_zero_mean_unit_variance": [value / 9.2 for value in centred],
        **{
            f"seasons_{value}": [int(each == value) for each in rows["seasons"]]
            for value in range(1, 5)
        },
        **{
            f"day_of_the_week_{value}": [int(each == value) for each in rows["day_of_the_week"]]
            for value in range(2, 7)
        },
        "is_summer": [int(each in (1, 2, 12)) for each in rows["month_of_absence"]],
        "lives_far": [int(each > 30) for each in rows["distance_from_residence_to_work"]],
        "smokes": [int(each > 0) for each in rows["social_smoker"]],
    }


def main() -> None:
    options = arguments()
    folder, rows = Path(options.folder), options.rows
    say(f"feast: {rows} rows to parquet and to Redis")
    write_absences(folder / "absences.parquet", rows)
    store = feature_store(folder, options.redis_port)
    materialize_seconds(store, rows)
    with contextlib.redirect_stdout(sys.stderr):
        apply_services(store)
    # A fork would share what the registry and the Redis client have open.
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(str(folder), options.redis_port, options.port)
    )
    server.start()
    try:
        while not listens(options.port):
            if not server.is_alive():
                sys.exit("Feast's server has ended")
            time.sleep(0.1)
        config = {"feast": version("feast"), "workers": 1, "rows": rows}
        command = ["node", "--import", "tsx", str(HERE / "online.ts")]
        numbers = [options.port, rows, options.repeats]
        arguments_of_node = [*map(str, numbers), json.dumps(config)]
        subprocess.run([*command, *arguments_of_node], check=True, cwd=HERE.parent.parent)
    finally:
        server.terminate()
        server.join()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="for the data and the registry")
    parser.add_argument("--redis-port", type=int, required=True, help="its data is deleted")
    parser.add_argument("--port", type=int, required=True, help="for Feast's server")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    return parser.parse_args()


def apply_services(store: FeatureStore) -> None:
    """`one` and `many`: the stored columns and the fourteen, in the mode that is fastest for each."""
    absences = store.get_feature_view("absences")
    schema = [Field(name=name, dtype=Float64) for name in SCORES]
    schema += [Field(name=name, dtype=Int64) for name in FLAGS]
    for name, function, singleton in [("one", of_one, True), ("many", of_many, False)]:
        view = on_demand_feature_view(
            name=f"{name}_computed",
            sources=[absences],
            schema=schema,
            mode="python",
            singleton=singleton,
        )(function)
        store.apply([view, FeatureService(name=name, features=[absences, view])])


def serve(folder: str, redis_port: int, port: int) -> None:
    """One worker, which never starts anew: all else as Feast has it by default."""
    sys.stdout = sys.stderr
    store = feature_store(Path(folder), redis_port, apply=False)
    store.serve("127.0.0.1", port, workers=1, max_requests=0, max_requests_jitter=0)


if __name__ == "__main__":
    main()
