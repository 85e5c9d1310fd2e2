"""Entry: python -m lab."""

from lab.commands.cli import main

main()
