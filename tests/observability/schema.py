#!/usr/bin/env python3
"""schema.py SDK BOARD: checks a board against Grafana's own types, as its foundation SDK has them (generated from Grafana's
schemas of version 11.6). Reports each key that these do not know, each value of another type, and each word that is none of an
enumeration's."""

import enum
import json
import sys
import typing

sdk, board = sys.argv[1:]
sys.path.insert(0, sdk)
from grafana_foundation_sdk.cog import plugins  # noqa: E402
from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: E402
from grafana_foundation_sdk.models import dashboard, prometheus, stat, statetimeline, table, timeseries  # noqa: E402

# Kinds of panels, with the types of their options, which the SDK parses by a registry that has no errors.
OPTIONS = {
    "stat": stat.Options,
    "state-timeline": statetimeline.Options,
    "table": table.Options,
    "timeseries": timeseries.Options,
}
# What Grafana writes itself and its schemas do not have (grafana/public/app/features/dashboard: "builtIn" is of the annotation
# that each board has; "definition" is of a query variable, for its editor).
UNTYPED = {"builtIn", "definition"}

wrong = []


def complain(place, text):
    wrong.append(f"{place}: {text}")


def plain(thing):
    return json.loads(JSONEncoder().encode(thing))


def unknown(given, kept, place):
    """Compares what was given with what the types have kept of it."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                unknown(value, kept[key], f"{place}.{key}")
            elif key not in UNTYPED:
                complain(place, f"Grafana does not know {key!r}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, pair in enumerate(zip(given, kept)):
            unknown(*pair, f"{place}[{number}]")
    elif given != kept:
        complain(place, f"{given!r} is taken as {kept!r}")


def fits(value, wanted):
    """Returns whether a value is of a type, as far as that can be asked."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Union:
        return any(fits(value, one) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(fits(one, inner[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict)
    if origin is typing.Literal:
        return value in inner
    if wanted is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return value in [one.value for one in wanted] or value in list(wanted)
    if isinstance(value, dict) and hasattr(wanted, "from_json"):
        # Left as it came.
        unknown(value, plain(wanted.from_json(value)), wanted.__name__)
        return True
    if isinstance(wanted, type) and wanted is not object:
        return isinstance(value, wanted)
    return True


def types(thing, place):
    """Compares each attribute of an object of the SDK, and what is below it, with its type."""
    if isinstance(thing, list):
        for number, one in enumerate(thing):
            types(one, f"{place}[{number}]")
    if not type(thing).__module__.startswith("grafana_foundation_sdk") or isinstance(thing, enum.Enum):
        return
    hints = typing.get_type_hints(type(thing))
    for name, value in vars(thing).items():
        if name in hints and not fits(value, hints[name]):
            complain(f"{place}.{name}", f"{value!r} is not a {hints[name]}")
        types(value, f"{place}.{name}")


plugins.register_default_plugins()
with open(board, encoding="utf-8") as file:
    given = json.load(file)
parsed = dashboard.Dashboard.from_json(given)
unknown(given, plain(parsed), "board")
types(parsed, "board")
for panel in parsed.panels:
    if not isinstance(panel.options, OPTIONS.get(panel.type_val, ())):
        complain(f"panel {panel.title}", f"{panel.type_val} is not a kind of panel that is checked here")
    if not all(isinstance(target, prometheus.Dataquery) for target in panel.targets):
        complain(f"panel {panel.title}", "a query is not Prometheus'")
print("\n".join(wrong) or f"{len(parsed.panels)} panels are as Grafana has them")
sys.exit(1 if wrong else 0)
