"""`python -m qss`: the same as the command `qss`."""

from qss.cli.main import main

main(prog_name="qss")
