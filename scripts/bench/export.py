"""Reads the windows that a stopped server lists, as other engines can take them: exact, in whole numbers.

Sums are Decimal(76, 30). Read as millionths in 64 bits they stay exact here, since tokens are whole; the
conversion refuses anything else.
"""
import pathlib
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

LISTED = """SELECT DISTINCT location, window_size_s FROM segments JOIN coverage USING (segment)
            WHERE kind = ? AND delisted_at_us IS NULL AND row_count > 0"""


def listed(folder, kind):
    """Paths by window size in seconds."""
    data = pathlib.Path(folder) / "weir-data"
    catalog = sqlite3.connect(f"file:{data / 'catalog.db'}?mode=ro", uri=True)
    found = {}
    for location, size in catalog.execute(LISTED, (kind,)):
        path = data / "store" / location
        found.setdefault(size, []).append(path if path.is_file() else data / "store" / kind / location)
    catalog.close()
    return found


def windows(paths):
    """All windows of these files: subject, start in microseconds, model, route, tokens in millionths, events."""
    tables = []
    for path in paths:
        table = pq.read_table(path, columns=["subject", "window_start", "groups", "sum", "events"])
        groups = table["groups"].combine_chunks()
        tables.append(pa.table({
            "subject": table["subject"].cast(pa.string()),
            "start": table["window_start"],
            "model": pc.list_element(groups, 0).cast(pa.string()),
            "route": pc.list_element(groups, 1).cast(pa.string()),
            "tokens": millionths(table["sum"].combine_chunks()),
            "events": table["events"],
        }))
    return pa.concat_tables(tables).sort_by([("subject", "ascending"), ("start", "ascending")])


def millionths(sums):
    if isinstance(sums, pa.ChunkedArray):
        sums = sums.chunk(0) if sums.num_chunks == 1 else pa.concat_arrays(sums.chunks)
    # A safe cast fails where a digit would be lost; then the low half of each 128 bits is the number.
    narrow = pc.cast(sums, pa.decimal128(18, 6))
    low = np.frombuffer(narrow.buffers()[1], np.int64)[::2][narrow.offset:narrow.offset + len(narrow)]
    return pa.array(low)


def events_glob(folder):
    """The listed files of rows at rest."""
    return sorted(path for paths in listed(folder, "rows").values() for path in paths)
