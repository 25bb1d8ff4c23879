"""One thin main a verb: `pyasp <verb>` is `python -m pyasp.bin.<verb>`.

A verb declares its options and positional words, calls the packages below it, all of which it may import, and prints; a
module with an underscore is no verb. Begin with `score`.
"""

import gc
import sys

if sys.argv[:1] == ["-m"]:  # `python -m pyasp.bin.<verb>` is looking for the verb: the process is that tool's alone
    gc.disable()  # until its main begins (core.command.keep_imported)
