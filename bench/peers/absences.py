"""Rows with the columns of features/absences.ts, each value drawn on its own, as a parquet file."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 20_260_101
ROWS_A_CHUNK = 500_000
FIRST_MS = 1_577_836_800_000  # 2020-01-01T00:00:00Z

# Lowest and highest value, both drawn.
INTEGERS = {
    "reason_for_absence": (0, 28),
    "month_of_absence": (0, 12),
    "day_of_the_week": (2, 6),
    "seasons": (1, 4),
    "transportation_expense": (118, 388),
    "distance_from_residence_to_work": (5, 52),
    "service_time": (1, 29),
    "age": (27, 58),
    "hit_target": (81, 100),
    "disciplinary_failure": (0, 1),
    "education": (1, 4),
    "son": (0, 4),
    "social_drinker": (0, 1),
    "social_smoker": (0, 1),
    "pet": (0, 8),
    "weight": (56, 108),
    "height": (163, 196),
    "body_mass_index": (19, 38),
    "absenteeism_time_in_hours": (0, 120),
}
FLOATS = {"work_load_average_per_day": (205.0, 378.0)}


def write_absences(path: Path, rows: int) -> None:
    """Writes `rows` rows, each of a new entity and a millisecond after the one before."""
    random = np.random.default_rng(SEED)
    writer = None
    for first in range(0, rows, ROWS_A_CHUNK):
        chunk = draw(random, first, min(ROWS_A_CHUNK, rows - first))
        writer = writer or pq.ParquetWriter(path, chunk.schema)
        writer.write_table(chunk)
    writer.close()


def draw(random: np.random.Generator, first: int, count: int) -> pa.Table:
    numbers = np.arange(first, first + count)
    columns = {
        "id": pa.array(numbers).cast(pa.string()),
        "event_timestamp": pa.array(FIRST_MS + numbers).cast(pa.timestamp("ms", tz="UTC")),
    }
    for name, (low, high) in INTEGERS.items():
        columns[name] = random.integers(low, high, count, endpoint=True)
    for name, (low, high) in FLOATS.items():
        columns[name] = random.uniform(low, high, count).round(3)
    return pa.table(columns)
