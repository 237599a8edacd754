"""The process that runs a learner's file: `python -m minisegnet.exercise.worker WHAT FILE ANSWER STACK SECONDS`.

WHAT is `check` or `speed`. The answer goes into the file ANSWER, as JSON. If the time is up, or the process crashes,
the stack at that moment is in the file STACK.
"""

import dataclasses
import faulthandler
import json
import sys
from pathlib import Path

from ..files import atomic_write
from .checking import check_file
from .speed import compare

WHAT = {"check": lambda path: dataclasses.asdict(check_file(path)), "speed": compare}


def main(what, path, answer, stack, seconds):
    sys.path.append(str(Path(path).resolve().parent))  # modules of the learner's own, beside the file
    with open(stack, "w", encoding="utf-8") as file:
        faulthandler.enable(file)
        faulthandler.dump_traceback_later(float(seconds), exit=True, file=file)
        found = WHAT[what](path)
        faulthandler.cancel_dump_traceback_later()
        faulthandler.disable()
    atomic_write(answer, json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
