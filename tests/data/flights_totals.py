#!/usr/bin/env python3
"""What the flights test expects, computed apart from everything else in this repository.

Reads flights as CloudEvents, one JSON object a line, gzipped; writes a CSV of totals per zone, month and
carrier: flights, the sum of distances, and the sum, average, least and greatest of air times (some
flights have none). Only the standard library is used; zones come from the machine's tzdata, and averages
have 28 significant digits, half to even, because that is what decimal does by itself.

    tests/data/flights_totals.py examples/flights-2013-03.ndjson.gz > tests/data/flights-2013-03.csv
"""
import collections
import csv
import datetime
import decimal
import gzip
import json
import sys
import zoneinfo

ZONES = ["America/New_York", "Asia/Tokyo"]
COLUMNS = ["zone", "month", "carrier", "flights", "distance", "air_time", "average", "shortest", "longest"]


def month_of(event: dict, zone: zoneinfo.ZoneInfo) -> str:
    time = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    return time.astimezone(zone).strftime("%Y-%m")


def main(path: str) -> None:
    zones = {name: zoneinfo.ZoneInfo(name) for name in ZONES}
    seen = set()
    groups = collections.defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line, parse_int=decimal.Decimal, parse_float=decimal.Decimal)
            identity = (event["source"], event["id"])
            if identity in seen:
                continue
            seen.add(identity)
            for name, zone in zones.items():
                groups[name, month_of(event, zone), event["subject"]].append(event["data"])
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(COLUMNS)
    for (zone, month, carrier), flights in sorted(groups.items()):
        distance = sum(flight["distance"] for flight in flights)
        times = [flight["air_time"] for flight in flights if flight["air_time"] is not None]
        of_times = ["", "", "", ""]
        if times:
            of_times = [sum(times), format((sum(times) / len(times)).normalize(), "f"), min(times), max(times)]
        out.writerow([zone, month, carrier, len(flights), distance, *of_times])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
