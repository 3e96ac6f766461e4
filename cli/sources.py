"""The command `sources`: the metrics of each source, which keys are set, and what the configs name."""

import argparse
import textwrap
from collections.abc import Callable

from model.settings import ROOT, Settings
from model.values import DAY, Verb
from sources import SOURCES
from sources.base import BaseSource
from sources.config import read_config


def _settled(source: type[BaseSource]) -> str:
    """Which days a scheduled settle compares."""
    by_window = any(Verb.SETTLE in metric.verbs and not metric.whole for metric in source.METRICS.values())
    whole = any(metric.whole for metric in source.METRICS.values())
    parts = ["the whole history where the API answers with it"] if whole else []
    if by_window and (every := source.SCHEDULES[Verb.SETTLE].whole_every):
        days = f"the last {source.SETTLE_DAYS} closed days, and the whole history every {every // DAY} days"
        parts.append(f"otherwise {days}" if whole else days)
    return "; ".join(parts)


def show_sources(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Show the metrics of each source, whether its key is set, and how many series its config names."""
    for name, source in SOURCES.items():
        assets = read_config(ROOT / source.CONFIG, source)
        with_key = bool(settings.get(source.KEY_VARIABLE))
        key = "set" if with_key else "not set"
        need = "needed" if source.KEY_REQUIRED else "for some metrics"
        print(f"{name}: one request every {source.delay(with_key=with_key)} s; {source.KEY_VARIABLE} ({need}): {key}")
        print(f"  scheduled: {'; '.join(f'{verb} {schedule}' for verb, schedule in source.SCHEDULES.items())}")
        print(f"  a settle compares {_settled(source)}")
        print(f"  {source.CONFIG}: {len(assets)} rows, {sum(len(asset.metrics) for asset in assets)} series")
        for group in source.KINDS or ("",):
            alike: dict[str, list[str]] = {}
            for metric, known in sorted(source.METRICS.items()):
                if group == known.kind:
                    verbs = ", ".join(verb for verb in Verb if verb in known.verbs)
                    alike.setdefault(f"{verbs}{'; with the key' if known.needs_key else ''}", []).append(metric)
            for how, metrics in alike.items():
                print(f"  {f'{group}, ' if group else ''}{how}:")
                print(textwrap.fill(" ".join(metrics), 110, initial_indent=" " * 4, subsequent_indent=" " * 4))
        for metric, known in sorted(source.METRICS.items()):
            if known.note:
                print(f"  {metric}: {known.note}")
    return 0
