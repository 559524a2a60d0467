"""Several commands of the portal's operator in one process: each `flask` of its own imports the portal anew.

    python tools/portal_commands.py < commands.json

The commands come by standard input, so that no password stands in a process list:

    [{"arguments": ["db", "upgrade"], "stdin": "", "env": {"IMPRIMATUR_DATABASE_URL": "…", …}}, …]

Each sees its `env` on top of the environment. The first that fails ends it, with that command's exit code.
"""

import io
import json
import os
import sys
from pathlib import Path

from flask.cli import FlaskGroup

# Run as a script: the portal lies beside this folder.
sys.path.insert(0, str(Path(__file__).parents[1]))

from app import create_app


def run(arguments: list[str], stdin: str, env: dict[str, str]) -> int:
    """One command, as `flask --app app ARGUMENTS` would run it; its exit code."""
    sys.stdin = io.StringIO(stdin)
    before = dict(os.environ)
    os.environ.update(env)
    try:
        FlaskGroup(create_app=create_app).main(arguments, prog_name="flask")
    except SystemExit as ended:
        # Click's code is a number, or nothing for 0.
        return int(ended.code or 0)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return 0


if __name__ == "__main__":
    for command in json.load(sys.stdin):
        if code := run(command["arguments"], command["stdin"], command["env"]):
            sys.exit(code)
