"""What every engine is asked. No two questions of a run are the same, so that no cache of answers can help.

An answer is a dictionary: (the hour or day as `2026-10-22T05`, group values …) to a whole number of tokens.
"""
import dataclasses
import datetime
import random

from server import query_path

MICROS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Question:
    window: str  # HOUR or DAY
    from_s: int
    to_s: int
    subject: str | None
    group_by: tuple

    def path(self):
        parameters = {"windowSize": self.window, "from": text(self.from_s), "to": text(self.to_s)}
        if self.subject:
            parameters["subject"] = self.subject
        if self.group_by:
            parameters["groupBy"] = self.group_by
        return query_path("tokens", **parameters)

    @property
    def window_s(self):
        return {"HOUR": 3600, "DAY": 86400}[self.window]


def text(second):
    return datetime.datetime.fromtimestamp(second, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def second(text):
    return int(datetime.datetime.fromisoformat(text).timestamp())


def subject_month(manifest, count, turn):
    """One meter and subject, the whole month by hour; no subject is asked in two turns, if there are enough."""
    subjects = list(range(manifest["subjects"]))
    random.Random(1).shuffle(subjects)
    begin, end = second(manifest["from"]), second(manifest["to"])
    return [Question("HOUR", begin, end, f"customer-{subjects[n % len(subjects)]:05}", ())
            for n in range(turn * count, (turn + 1) * count)]


def all_windows(manifest, count, turn):
    """All windows, day by group; the very first question leaves out nothing, each other one some hours at the
    month's ends, and never the same."""
    begin, end = second(manifest["from"]), second(manifest["to"])
    return [Question("DAY", begin + 3600 * (n % 12), end - 3600 * (n // 12), None, ("model", "route"))
            for n in range(turn * count, (turn + 1) * count)]
