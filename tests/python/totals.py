"""Adds up files of Weir's with a program that knows nothing of Weir.

Usage: totals.py duckdb|polars rows|events|windows FILE...   (Parquet, or CSV if the name ends in .csv)

`rows` are rows at rest, of which those with sign 1 count; `events` and `windows` come from `weir export`.
Prints one JSON array per subject, ordered by it: the subject, how many rows there are, the sum of
`$.value` in the data (of windows: of `value`) to nine digits after the point, and the first and the last
time (of windows: `window_start`) in whole seconds since 1970.
"""

import json
import sys

SCALE = 9
MICROSECONDS = 1_000_000


def duckdb_totals(what, files):
    import duckdb

    csv = files[0].endswith(".csv")
    # A text column of a CSV must stay text, whatever it looks like.
    source = "read_csv($files, all_varchar = true, header = true)" if csv else "read_parquet($files)"
    value = "value" if what == "windows" else "json_extract_string(data, '$.value')"
    time = "window_start" if what == "windows" else "time"
    second = f"time // {MICROSECONDS}" if what == "rows" else f"epoch_us({time}::TIMESTAMPTZ) // {MICROSECONDS}"
    return duckdb.execute(
        f"""
        SELECT subject, count(*), sum(({value})::DECIMAL(38, {SCALE})), min({second}), max({second})
        FROM {source}
        {"WHERE sign = 1" if what == "rows" else ""}
        GROUP BY subject
        ORDER BY subject
        """,
        {"files": files},
    ).fetchall()


def polars_totals(what, files):
    import polars as pl

    csv = files[0].endswith(".csv")
    rows = pl.concat([pl.scan_csv(file, infer_schema=False) for file in files]) if csv else pl.scan_parquet(files)
    if what == "rows":
        rows = rows.filter(pl.col("sign") == 1)
    value = pl.col("value") if what == "windows" else pl.col("data").str.json_path_match("$.value")
    time = pl.col("window_start" if what == "windows" else "time")
    if csv:
        time = time.str.to_datetime(time_unit="us", time_zone="UTC")
    second = time.cast(pl.Int64) // MICROSECONDS
    return (
        rows.with_columns(value.cast(pl.Decimal(38, SCALE)).alias("value"), second.alias("second"))
        .group_by("subject")
        .agg(
            pl.len(),
            pl.col("value").sum(),
            pl.col("second").min().alias("first"),
            pl.col("second").max().alias("last"),
        )
        .sort("subject")
        .collect()
        .rows()
    )


def main():
    engine, what, files = sys.argv[1], sys.argv[2], sys.argv[3:]
    totals = {"duckdb": duckdb_totals, "polars": polars_totals}[engine](what, files)
    for subject, rows, value, first, last in totals:
        print(json.dumps([subject, rows, f"{value:.{SCALE}f}", first, last]))


main()
