"""Run many commands of ufw in one process. Each start of ufw costs a tenth of a second.

The host's own Python runs this file, because Salt's does not have ufw's packages. It must not see
this folder, which has a module `ufw` as well:

    python3 -I many.py /usr/sbin/ufw --datadir=FOLDER

Standard input is a JSON list of commands, each a list of words. The first one that ufw refuses ends
it.
"""

import contextlib
import io
import json
import runpy
import sys


def main() -> None:
    """Run the commands; exit with the one that ufw refused, and with what ufw said."""
    program, *options = sys.argv[1:]
    for words in json.load(sys.stdin):
        sys.argv = [program, *options, *words]
        said = io.TextIOWrapper(io.BytesIO(), write_through=True)  # ufw writes bytes, too
        try:
            with contextlib.redirect_stderr(said):
                runpy.run_path(program, run_name="__main__")
        except SystemExit as ended:
            if ended.code:
                told = said.buffer.getvalue().decode().strip()
                sys.exit(f"ufw {' '.join(words)}: {told or ended.code}")


if __name__ == "__main__":
    main()
