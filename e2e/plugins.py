"""Runs plugins of Volatility 3 on one image, several of them in one process: its start, finding the kernel and
reading the symbols take longer than most plugins. Prints an object of JSON: of each plugin its rows, or why it failed.

    python plugins.py IMAGE SYMBOLS CACHE PLUGIN[:NAME=N,N...]...
"""

import datetime
import json
import pathlib
import sys
import time
import traceback

import volatility3.plugins
import volatility3.symbols
from volatility3 import framework
from volatility3.framework import automagic, constants, contexts, interfaces, plugins


def plain(value):
    """A value of a row, as the renderer for JSON has it."""
    if isinstance(value, interfaces.renderers.BaseAbsentValue):
        return None
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else bool(value)
    if isinstance(value, int):
        return int(value)
    return str(value)


def rows(grid):
    names = [column.name for column in grid.columns]
    out = []

    def visit(node, parent):
        out.append({name: plain(value) for name, value in zip(names, node.values)})
        return None

    grid.populate(visit, None)
    return out


def main(image, symbols, cache, wanted):
    constants.CACHE_PATH = cache
    constants.OFFLINE = True
    constants.REMOTE_ISF_URL = None
    volatility3.symbols.__path__ = [symbols] + constants.SYMBOL_BASEPATHS
    framework.import_files(volatility3.plugins, True)
    known = framework.list_plugins()
    context = contexts.Context()
    context.config["automagic.LayerStacker.single_location"] = pathlib.Path(image).absolute().as_uri()
    magic = automagic.available(context)
    result = {}
    for n, text in enumerate(wanted):
        name, _, option = text.partition(":")
        plugin = known[name]
        begin = time.monotonic()
        try:
            chosen = automagic.choose_automagic(magic, plugin)
            path = "run%d" % n
            if n > 0:  # the kernel has been found
                for key, value in context.config.branch("run0." + wanted[0].split(".")[-1]).branch("kernel").items():
                    context.config["%s.%s.kernel.%s" % (path, plugin.__name__, key)] = value
            if option:
                key, _, values = option.partition("=")
                context.config["%s.%s.%s" % (path, plugin.__name__, key)] = [int(v) for v in values.split(",")]
            made = plugins.construct_plugin(context, chosen, plugin, path, lambda *_: None, None)
            table = rows(made.run())
            result[name] = {"rows": table, "seconds": time.monotonic() - begin}
        except Exception:
            result[name] = {"error": traceback.format_exc(limit=-4), "seconds": time.monotonic() - begin}
    json.dump(result, sys.stdout)


main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
