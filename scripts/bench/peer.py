"""Another engine in a process of its own, on a core of its own: `peer.py duckdb|chdb|raw FOLDER THREADS`.

Reads questions from stdin, a JSON line each, and answers on stdout. The time is taken in here, around the
engine's call and fetching its result, so that the pipe costs the engine nothing.

- duckdb: the windows in a table in memory, ordered by subject and time.
- chdb: the windows in a MergeTree ordered by subject and time, group values as LowCardinality.
- raw: the events in a MergeTree as OpenMeter keeps them, `data` as text, read with JSON_VALUE.
"""
import dataclasses
import json
import pathlib
import sys
import tempfile
import time

import export
from questions import MICROS, Question, text

RAW_TABLE = """CREATE TABLE events (namespace String, id String, type LowCardinality(String), subject String,
    source String, time DateTime, data String) ENGINE = MergeTree PARTITION BY toYYYYMM(time)
    ORDER BY (namespace, type, subject, toStartOfHour(time))"""


def quoted(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Windows:
    """What both engines have in common; they differ in how a time is cut."""

    def sql(self, question):
        step = question.window_s * MICROS
        where = f"start >= {question.from_s * MICROS} AND start < {question.to_s * MICROS}"
        if question.subject:
            where = f"subject = {quoted(question.subject)} AND {where}"
        keys = "".join(f", {key}" for key in question.group_by)
        return (f"SELECT start - start % {step} AS w{keys}, sum(tokens) FROM windows WHERE {where} "
                f"GROUP BY w{keys} ORDER BY w{keys}")

    @staticmethod
    def answer(rows):
        return [[text(row[0] // MICROS)[:13], *row[1:-1], exact(row[-1])] for row in rows]


def exact(millionths):
    if int(millionths) % MICROS:
        raise SystemExit("tokens are whole numbers")
    return int(millionths) // MICROS


class DuckDb(Windows):
    def __init__(self, table, threads, _folder):
        import duckdb
        self.connection = duckdb.connect(config={"threads": threads})
        self.connection.register("source", table)
        self.connection.execute("CREATE TABLE windows AS SELECT * FROM source ORDER BY subject, start")
        self.connection.unregister("source")

    def run(self, sql):
        return self.connection.execute(sql).fetchall()


class Chdb(Windows):
    def __init__(self, table, threads, folder):
        self.session = session(folder, threads)
        self.session.query("""CREATE TABLE windows (subject String, start Int64, model LowCardinality(String),
            route LowCardinality(String), tokens Int64, events Int64) ENGINE = MergeTree
            ORDER BY (subject, start) SETTINGS index_granularity = 8192""")
        load(self.session, "windows", table, folder)

    def run(self, sql):
        return self.session.query(sql, "JSONCompact")


class Raw:
    """OpenMeter's table and the SQL that it makes of a meter query."""

    def __init__(self, folder, threads, scratch):
        self.session = session(scratch, threads)
        self.session.query(RAW_TABLE)
        for path in export.events_glob(folder):
            # Only what counts; the local store knows microseconds, OpenMeter's column whole seconds.
            self.session.query(f"""INSERT INTO events SELECT namespace, id, type, subject, source,
                toDateTime(intDiv(time, 1000000), 'UTC'), data FROM file({quoted(str(path))}, Parquet)
                WHERE fate = 'counted'""")
        self.session.query("OPTIMIZE TABLE events FINAL")

    def sql(self, question):
        interval = {"HOUR": "toIntervalHour(1)", "DAY": "toIntervalDay(1)"}[question.window]
        keys = "".join(f", {key}" for key in question.group_by)
        values = "".join(f", JSON_VALUE(data, '$.{key}') AS {key}" for key in question.group_by)
        where = "namespace = 'default' AND type = 'prompt'"
        if question.subject:
            where += f" AND subject = {quoted(question.subject)}"
        where += f" AND time >= toDateTime({question.from_s}, 'UTC') AND time < toDateTime({question.to_s}, 'UTC')"
        return (f"SELECT toUnixTimestamp(tumbleStart(time, {interval}, 'UTC')) AS w{values}, "
                f"sum(ifNotFinite(toFloat64OrNull(JSON_VALUE(data, '$.tokens')), null)) AS value FROM events "
                f"WHERE {where} GROUP BY w{keys} ORDER BY w{keys}")

    def run(self, sql):
        return self.session.query(sql, "JSONCompact")

    @staticmethod
    def answer(rows):
        return [[text(row[0])[:13], *row[1:-1], int(row[-1])] for row in rows]


def session(folder, threads):
    from chdb.session import Session
    opened = Session(str(pathlib.Path(folder) / "chdb"))
    opened.query("CREATE DATABASE IF NOT EXISTS bench ENGINE = Atomic")
    opened.query("USE bench")
    opened.query(f"SET max_threads = {threads}, use_query_cache = 0, use_query_condition_cache = 0")
    opened.query("SET output_format_json_quote_64bit_integers = 0")
    return opened


def load(opened, name, table, folder):
    import pyarrow.parquet as pq
    path = pathlib.Path(folder) / f"{name}.parquet"
    pq.write_table(table, path)
    opened.query(f"INSERT INTO {name} SELECT * FROM file({quoted(str(path))}, Parquet)")
    opened.query(f"OPTIMIZE TABLE {name} FINAL")
    path.unlink()


def decoded(result):
    """Rows of either engine. Weir and chdb answer JSON, which is read after the clock has stopped."""
    return result if isinstance(result, list) else json.loads(result.bytes())["data"]


def main():
    kind, folder, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with tempfile.TemporaryDirectory(prefix="weir-bench-peer-") as scratch:
        if kind == "raw":
            engine = Raw(folder, threads, scratch)
        else:
            sizes = export.listed(folder, "windows")
            size = int(sys.argv[4])
            table = export.windows(sizes[size])
            engine = {"duckdb": DuckDb, "chdb": Chdb}[kind](table, threads, scratch)
        count = engine.run("SELECT count(*) FROM " + ("events" if kind == "raw" else "windows"))
        print(json.dumps({"rows": decoded(count)[0][0]}), flush=True)
        for line in sys.stdin:
            fields = json.loads(line)
            question = Question(**{**fields, "group_by": tuple(fields["group_by"])})
            sql = engine.sql(question)
            begin = time.perf_counter()
            result = engine.run(sql)
            seconds = time.perf_counter() - begin
            print(json.dumps({"seconds": seconds, "answer": engine.answer(decoded(result))}), flush=True)


class Peer:
    """The other end of the pipe."""

    def __init__(self, kind, name, folder, core, threads, *more):
        import subprocess
        from server import pinned
        self.name = name
        command = pinned(core, sys.executable, __file__, kind, folder, threads, *more)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.rows = self._read()["rows"]

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended")
        return json.loads(line)

    def ask(self, question):
        self.process.stdin.write(json.dumps(dataclasses.asdict(question)) + "\n")
        self.process.stdin.flush()
        reply = self._read()
        return reply["seconds"], {tuple(row[:-1]): row[-1] for row in reply["answer"]}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.process.stdin.close()
            self.process.wait(timeout=20)
        except Exception:
            self.process.kill()
            self.process.wait()


if __name__ == "__main__":
    main()
