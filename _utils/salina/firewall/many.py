"""Run many commands of ufw in one process. Each start of ufw costs a tenth of a second.

The host's own Python runs this file, because Salt's does not have ufw's packages:
`python3 many.py /usr/sbin/ufw --datadir=FOLDER`, with a JSON list of commands on standard input, each
of them a list of words. It ends with the first command that ufw refuses.
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
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                runpy.run_path(program, run_name="__main__")
        except SystemExit as ended:
            if ended.code:
                sys.exit(f"ufw {' '.join(words)}: {said.getvalue().strip() or ended.code}")


if __name__ == "__main__":
    main()
