"""Run a module as a part that does not outlive its supervisor: `python -m local.child PARENT module args...`."""

import os
import runpy
import signal
import sys
import threading
import time

_LOOK_EVERY_S = 0.5
_GRACE_S = 6.0


def _follow(parent: int) -> None:
    # Asking for the parent works on every system; Linux's death signal would also fire when a thread of it ends.
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    print(f"the supervisor (process {parent}) is gone; ending", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)


def main() -> None:
    """Watch the parent in a thread and become the module."""
    parent, module = int(sys.argv[1]), sys.argv[2]
    threading.Thread(target=_follow, args=(parent,), name="follow-parent", daemon=True).start()
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
