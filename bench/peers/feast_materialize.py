"""Feast: rows/s of `materialize` into Redis, and the bytes of Redis that a row takes."""

import argparse
import contextlib
import csv
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
from absences import FIRST_MS, FLOATS, INTEGERS, write_absences
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64
from redis import Redis
from report import report_line, say

# `-d` is the size of twenty numbers of eight bytes.
LIMIT = "redis-benchmark -t set -P 50 -r {rows} -d 160 -n {rows}"


def main() -> None:
    options = arguments()
    folder, rows = Path(options.folder), options.rows
    redis = Redis(host="127.0.0.1", port=options.redis_port)
    say(f"feast: {rows} rows to parquet")
    write_absences(folder / "absences.parquet", rows)
    store = feature_store(folder, options.redis_port)

    figures, limits, bytes_a_row = [], [], []
    for repeat in range(options.repeats):
        redis.flushall()
        limits.append(sets_per_second(options.redis_port, rows))
        redis.flushall()
        before = settled_memory(redis)
        figures.append(rows / materialize_seconds(store, rows))
        if redis.dbsize() != rows:
            raise RuntimeError(f"Feast wrote {redis.dbsize()} keys for {rows} rows")
        bytes_a_row.append((settled_memory(redis) - before) / rows)
        say(
            f"feast: pair {repeat + 1} of {options.repeats}: {figures[-1]:.0f} rows/s, "
            f"redis-benchmark {limits[-1]:.0f} SET/s, {bytes_a_row[-1]:.0f} bytes a row"
        )
    check_row(store, folder / "absences.parquet")

    config = {
        "columns": len(INTEGERS) + len(FLOATS),
        "feast": version("feast"),
        "offline_store": store.config.offline_store.type,
        "compute_engine": store.config.batch_engine.type,
        "registry": "file",
        "redis": redis.info("server")["redis_version"],
        "redis_py": version("redis"),
    }
    limit = {"limit": LIMIT.format(rows=rows)}
    print(
        report_line("feast materialize", "rows/s", rows, config | limit, figures, limits),
        report_line("feast redis memory", "bytes/row", rows, config, bytes_a_row),
        sep="\n",
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="for the data and the registry")
    parser.add_argument("--redis-port", type=int, required=True, help="its data is deleted")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    return parser.parse_args()


def feature_store(folder: Path, redis_port: int, apply: bool = True) -> FeatureStore:
    """A view of the twenty columns, from the file to Redis; all else as Feast has it by default."""
    store = FeatureStore(
        config=RepoConfig(
            project="peers",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store={"type": "file"},
            online_store={"type": "redis", "connection_string": f"127.0.0.1:{redis_port}"},
            repo_path=folder,
        )
    )
    employee = Entity(name="employee", join_keys=["id"], value_type=ValueType.STRING)
    absences = FeatureView(
        name="absences",
        entities=[employee],
        ttl=timedelta(0),
        schema=[Field(name=name, dtype=Int64) for name in INTEGERS]
        + [Field(name=name, dtype=Float64) for name in FLOATS],
        source=FileSource(
            path=str(folder / "absences.parquet"), timestamp_field="event_timestamp"
        ),
    )
    if apply:
        with contextlib.redirect_stdout(sys.stderr):
            store.apply([employee, absences])
    return store


def materialize_seconds(store: FeatureStore, rows: int) -> float:
    first = datetime.fromtimestamp(FIRST_MS / 1000, timezone.utc)
    last = first + timedelta(milliseconds=rows)
    started = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        store.materialize(first - timedelta(seconds=1), last, feature_views=["absences"])
    return time.perf_counter() - started


def sets_per_second(port: int, rows: int) -> float:
    command = [*LIMIT.format(rows=rows).split(), "-h", "127.0.0.1", "-p", str(port), "--csv"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rates = {row[0]: row[1] for row in csv.reader(output.splitlines())}
    return float(rates["SET"])


def settled_memory(redis: Redis) -> int:
    """`used_memory` once the buffers of clients are freed: no change of 4 KiB for two seconds."""
    seen = []
    while len(seen) < 5 or max(seen[-5:]) - min(seen[-5:]) > 4096:
        seen.append(redis.info("memory")["used_memory"])
        time.sleep(0.5)
    return seen[-1]


def check_row(store: FeatureStore, path: Path) -> None:
    """A fast figure of wrong values is none: the first row is read back."""
    names = [*INTEGERS, *FLOATS]
    expected = pq.ParquetFile(path).read_row_group(0, columns=names).slice(0, 1).to_pylist()[0]
    features = [f"absences:{name}" for name in names]
    online = store.get_online_features(features, entity_rows=[{"id": "0"}]).to_dict()
    found = {name: online[name][0] for name in names}
    if found != expected:
        raise RuntimeError(f"Feast answers {found}, the file holds {expected}")


if __name__ == "__main__":
    main()
