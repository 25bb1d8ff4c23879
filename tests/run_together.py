"""Runs tools one after another in one of several processes: python -m torch.distributed.run ... THIS JOBS.json

JOBS.json: a list of [name of a module in pyasp.bin, its words].
"""

import importlib
import json
import sys

from pyasp.core.processes import together

if __name__ == "__main__":
    with together("cpu"):
        for tool, words in json.load(open(sys.argv[1], encoding="utf-8")):
            code = importlib.import_module(f"pyasp.bin.{tool}").main(words)
            if code:
                sys.exit(code)
