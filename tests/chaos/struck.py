"""`python -m tests.chaos.struck OPERATION PLACE NTH …`: seedbed, killed by SIGKILL right before a file operation."""

import os
import signal
import sys

from harness.commands.main import main


def strike_before(operation: str, place: str, nth: int) -> None:
    """Kill this process group before its nth such operation (Python's audit event) on a path that holds `place`."""
    left = nth

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event == operation and any(place in str(argument) for argument in arguments):
            left -= 1
            if left == 0:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    strike_before(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    del sys.argv[1:4]
    main()
