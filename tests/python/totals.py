"""Adds up exported or resting events with a program that knows nothing of Weir.

Usage: totals.py duckdb|polars FILE...   (Parquet, or CSV if the name ends in .csv)

Prints one line per type and subject that has counted events: a JSON array of type, subject, number of
events, and the sum of `$.value` to nine digits after the point, ordered by type and subject.
"""

import json
import sys

SCALE = 9


def duckdb_totals(files):
    import duckdb

    reader = "read_csv" if files[0].endswith(".csv") else "read_parquet"
    # A text column of a CSV must stay text, whatever it looks like.
    options = ", all_varchar = true, header = true" if reader == "read_csv" else ""
    return duckdb.execute(
        f"""
        SELECT type, subject, count(*),
               sum(json_extract_string(data, '$.value')::DECIMAL(38, {SCALE}))
        FROM {reader}($files{options})
        WHERE sign::INTEGER = 1
        GROUP BY type, subject
        ORDER BY type, subject
        """,
        {"files": files},
    ).fetchall()


def polars_totals(files):
    import polars as pl

    if files[0].endswith(".csv"):
        rows = pl.concat([pl.scan_csv(file, infer_schema=False) for file in files])
    else:
        rows = pl.scan_parquet(files)
    return (
        rows.filter(pl.col("sign").cast(pl.Int8) == 1)
        .with_columns(pl.col("data").str.json_path_match("$.value").cast(pl.Decimal(38, SCALE)).alias("value"))
        .group_by("type", "subject")
        .agg(pl.len(), pl.col("value").sum())
        .sort("type", "subject")
        .collect()
        .rows()
    )


def main():
    engine, files = sys.argv[1], sys.argv[2:]
    totals = {"duckdb": duckdb_totals, "polars": polars_totals}[engine](files)
    for kind, subject, events, value in totals:
        print(json.dumps([kind, subject, int(events), f"{value:.{SCALE}f}"]))


main()
