"""The features of features/absences.ts as Hamilton functions over polars."""

import polars as pl
from hamilton.function_modifiers import extract_columns, parameterize, source, value

INPUTS = ["age", "day_of_the_week", "month_of_absence", "pet", "seasons", "son"]


@extract_columns(*INPUTS)
def absences(path: str) -> pl.DataFrame:
    """The rows of the file."""
    return pl.read_parquet(path, columns=INPUTS)


def age_mean(age: pl.Series) -> float:
    """Average age, years."""
    return age.mean()


def age_std_dev(age: pl.Series) -> float:
    """Sample standard deviation of age, years."""
    return age.std()


def age_zero_mean(age: pl.Series, age_mean: float) -> pl.Series:
    """Age less the average age, years."""
    return age - age_mean


def age_zero_mean_unit_variance(age_zero_mean: pl.Series, age_std_dev: float) -> pl.Series:
    """Age as a z-score."""
    return age_zero_mean / age_std_dev


@parameterize(
    **{f"seasons_{n}": {"column": source("seasons"), "of": value(n)} for n in range(1, 5)},
    **{
        f"day_of_the_week_{n}": {"column": source("day_of_the_week"), "of": value(n)}
        for n in range(2, 7)
    },
)
def one_hot(column: pl.Series, of: int) -> pl.Series:
    """1 where the column is the number, else 0."""
    return (column == of).cast(pl.Int64)


def has_children(son: pl.Series) -> pl.Series:
    """1 for an employee with children, else 0."""
    return (son > 0).cast(pl.Int64)


def has_pet(pet: pl.Series) -> pl.Series:
    """1 for an employee with a pet, else 0."""
    return (pet > 0).cast(pl.Int64)


def is_summer(month_of_absence: pl.Series) -> pl.Series:
    """1 for an absence in the Brazilian summer, else 0."""
    return month_of_absence.is_in([1, 2, 12]).cast(pl.Int64)
