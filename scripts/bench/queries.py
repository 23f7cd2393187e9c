#!/usr/bin/env python3
"""Query rows of docs/BENCHMARKS.md, on folders that `weir-bench fill` made.

    queries.py windows FOLDER          one subject's month, and all windows, beside DuckDB and chdb
    queries.py raw FOLDER              the same answers from raw events with JSON_VALUE in chdb
    queries.py growth SMALL LARGE      one subject's month with ten times as many windows stored

Weir is asked over HTTP, from this process on another core; the others answer in process, each with the same
core and as many threads as Weir has cores. All are asked the same questions in turn, and every answer must be
the same in all of them. Needs the interpreter that `scripts/bench/setup` names.
"""
import argparse
import json
import os
import pathlib
import sys

sys.dont_write_bytecode = True

import export
import questions
from peer import Peer
from report import Report, median
from server import Server, Weir

BINARY = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).parents[2] / "target"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["windows", "raw", "growth"])
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--weir", type=pathlib.Path, default=BINARY / "release" / "weir")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--asks", type=int, default=20, help="questions of each kind in a round")
    parser.add_argument("--server-core", default="0", help="for Weir and the others alike; 0,1 gives them two")
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--window-size", type=int, choices=[60, 3600], help="of the windows that the others get "
                        "[default: the larger one that covers everything]")
    parser.add_argument("--serve", action="append", default=[], help="more flags for weir serve")
    parser.add_argument("--out", default="target/bench")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.client_core})
    options.threads = len(options.server_core.split(","))
    options.flags = [word for flag in options.serve for word in flag.split()]
    {"windows": windows, "raw": raw, "growth": growth}[options.what](options)


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def ask_all(engines, kinds, manifest, options):
    """Seconds by kind, engine and round (a round's median). Fails where two answers differ."""
    seconds = {kind: {engine.name: [] for engine in engines} for kind in kinds}
    for round_number in range(options.rounds + 1):
        for kind, make in kinds.items():
            asked = make(manifest, options.asks, round_number)
            taken = {engine.name: [] for engine in engines}
            for number, question in enumerate(asked):
                # Who goes first changes with every question.
                turn = number % len(engines)
                answers = {}
                for engine in engines[turn:] + engines[:turn]:
                    took, answers[engine.name] = engine.ask(question)
                    taken[engine.name].append(took * 1000)
                compare(question, answers, manifest)
            if round_number == 0:
                continue  # to warm up
            for name, values in taken.items():
                seconds[kind][name].append(median(values))
            print(f"round {round_number}, {kind}: " +
                  ", ".join(f"{name} {median(values):.2f} ms" for name, values in taken.items()), flush=True)
    return seconds


def compare(question, answers, manifest):
    (first, expected), *others = answers.items()
    if not expected:
        raise SystemExit(f"{first} has no answer to {question}")
    for name, answer in others:
        if answer != expected:
            odd = {key for key in answer.keys() | expected.keys() if answer.get(key) != expected.get(key)}
            key = sorted(odd)[0]
            raise SystemExit(f"{question}: {len(odd)} rows differ; at {key} {first} has {expected.get(key)}, "
                             f"{name} has {answer.get(key)}")
    whole_month = [questions.second(manifest["from"]), questions.second(manifest["to"])]
    if question.subject is None and [question.from_s, question.to_s] == whole_month:
        total = sum(expected.values())
        if total != manifest["tokens"]:
            raise SystemExit(f"{total} tokens in all windows, {manifest['tokens']} were sent")


KINDS = {"subject": questions.subject_month, "all": questions.all_windows}


def windows(options):
    folder = options.folders[0]
    manifest, sizes = manifest_of(folder), export.listed(folder, "windows")
    size = options.window_size or chosen_size(sizes, manifest)
    report = Report("queries")
    with Server(options.weir, folder, options.server_core, options.flags) as server, \
            Peer("duckdb", "DuckDB", folder, options.server_core, options.threads, size) as duckdb, \
            Peer("chdb", "chdb", folder, options.server_core, options.threads, size) as chdb:
        weir = Weir(server)
        seconds = ask_all([weir, duckdb, chdb], KINDS, manifest, options)
        report.details.update(seconds_ms=seconds, peer_rows={"DuckDB": duckdb.rows, "chdb": chdb.rows},
                              weir_read=last_read(weir, manifest), window_size_s=size,
                              listed_files={str(size): len(paths) for size, paths in sizes.items()})
        server.close()
    named = {"subject": ("one meter and subject, a month by hour", "≤ 3", "≤ 1"),
             "all": ("all windows, day by group", "≤ 2", "≤ 1")}
    for kind, (what, must, aim) in named.items():
        ours, both = seconds[kind][weir.name], {name: seconds[kind][name] for name in ("DuckDB", "chdb")}
        better = min(both, key=lambda name: median(both[name]))
        for name, theirs in both.items():
            ratio = median([a / b for a, b in zip(ours, theirs)])
            bounds = (must, aim) if name == better else (None, None)
            report.row(what, median(ours), f"{name} in process" + (", the better" if name == better else ""),
                       median(theirs), ratio, *bounds)
    report.notes += [f"{manifest['windows']} minute windows stored; the others have {duckdb.rows} rows of {size} s",
                     f"what Weir reads for a question of each kind: {report.details['weir_read']}",
                     f"cores {options.server_core} for each engine; all answers equal"]
    report.finish(options.out)


def chosen_size(sizes, manifest):
    """Hours if they cover every event, since a query by hour may then read them; else minutes."""
    if 3600 in sizes and int(export.pc.sum(export.windows(sizes[3600])["events"]).as_py()) == manifest["events"]:
        return 3600
    return 60


def last_read(weir, manifest):
    return {kind: (weir.ask(make(manifest, 1, 0)[0]), weir.read)[1] for kind, make in KINDS.items()}


def raw(options):
    folder = options.folders[0]
    manifest = manifest_of(folder)
    report = Report("raw-json")
    with Server(options.weir, folder, options.server_core, options.flags) as server, \
            Peer("raw", "JSON_VALUE", folder, options.server_core, options.threads) as chdb:
        if chdb.rows != manifest["events"]:
            raise SystemExit(f"chdb has {chdb.rows} events, {manifest['events']} were sent")
        weir = Weir(server)
        seconds = ask_all([weir, chdb], KINDS, manifest, options)
        report.details["seconds_ms"] = seconds
        server.close()
    for kind, what, bounds in [("all", "all events, day by group", ("≥ 20", "≥ 60")),
                               ("subject", "one subject, a month by hour", (None, None))]:
        ours, theirs = seconds[kind][weir.name], seconds[kind]["JSON_VALUE"]
        report.row(what, median(ours), "raw JSON with JSON_VALUE in chdb", median(theirs),
                   median([b / a for a, b in zip(ours, theirs)]), *bounds)
    report.notes.append(f"{manifest['events']} events, ratio: how many times faster we are; all answers equal")
    report.finish(options.out)


def growth(options):
    small, large = options.folders
    report = Report("growth")
    with Server(options.weir, small, options.server_core, options.flags) as first, \
            Server(options.weir, large, options.server_core, options.flags) as second:
        engines = {small: Weir(first), large: Weir(second)}
        taken = {small: [], large: []}
        for round_number in range(options.rounds + 1):
            for folder, engine in engines.items():
                manifest = manifest_of(folder)
                asked = questions.subject_month(manifest, options.asks, round_number)
                values = [engine.ask(question)[0] * 1000 for question in asked]
                if round_number:
                    taken[folder].append(median(values))
        report.details.update(small_ms=taken[small], large_ms=taken[large], small_read=engines[small].read,
                              large_read=engines[large].read)
        first.close()
        second.close()
    stored = {folder: manifest_of(folder)["windows"] for folder in (small, large)}
    report.row(f"the pruned query at {stored[large]} windows", median(taken[large]), f"at {stored[small]}",
               median(taken[small]), median([b / a for a, b in zip(taken[small], taken[large])]), "≤ 1.5", "≤ 1.1")
    report.finish(options.out)


if __name__ == "__main__":
    main()
