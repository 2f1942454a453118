"""`python -m stalkscreen` is the command line."""

from stalkscreen.cli import main

main(prog_name="stalkscreen")
