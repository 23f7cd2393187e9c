"""The same table and file as `weir-bench` makes."""
import json
import os
import pathlib
import platform
import statistics
import sys


def median(values):
    return statistics.median(values)


class Report:
    def __init__(self, name):
        self.name, self.rows, self.notes, self.details = name, [], [], {}

    def row(self, what, ours, beside, theirs, ratio, must=None, aim=None, unit="ms"):
        """`must` and `aim` are texts such as `≤ 3`."""
        self.rows.append(dict(what=what, unit=unit, ours=ours, beside=beside, theirs=theirs, ratio=ratio,
                              must=must, aim=aim))

    def finish(self, folder):
        lines = [["what", "ours", "beside", "", "ratio", "must", "aim", ""]]
        for row in self.rows:
            verdict = "" if not row["must"] else ("missed" if not met(row["ratio"], row["must"]) else
                                                  "aim met" if met(row["ratio"], row["aim"]) else "met")
            lines.append([row["what"], f"{row['ours']:.2f} {row['unit']}", f"{row['theirs']:.2f} {row['unit']}",
                          row["beside"], f"{row['ratio']:.3g}", row["must"] or "", row["aim"] or "", verdict])
        widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
        print()
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        for note in self.notes:
            print(f"  {note}")
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.name}.json"
        file.write_text(json.dumps({
            "name": self.name, "command": " ".join(sys.argv), "machine": machine(), "rows": self.rows,
            "notes": self.notes, "details": self.details}, indent=2, ensure_ascii=False))
        print(f"  everything: {file}")


def met(ratio, bound):
    sign, number = bound.split()
    return ratio <= float(number) if sign == "≤" else ratio >= float(number)


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "load": open("/proc/loadavg").read().strip()}
