"""Start the lab's command line: python -m lab."""

from lab.commands.cli import main

main()
