"""What the command line says to scripts when it ends."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended. 129, 130 and 143 are what shells give a process stopped by the end of its
    terminal (SIGHUP), by Ctrl-C (SIGINT) and by SIGTERM.
    """

    OK = 0
    """Done; the answer is yes."""
    NO = 1
    """Done; the answer is no: refused, damaged, unknown, contradictions were found, the node lies."""
    USAGE = 2
    """The command line can't be meant like this. Nothing was done."""
    NOT_ANCHORED = 3
    """Everything fits together, but no block that you trust vouches for it yet."""
    NODE = 4
    """The chain node can't be reached or gives no usable answer."""
    FAILED = 5
    """No answer for another reason: a file, a database or the address book can't be used, or a fault."""
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143
