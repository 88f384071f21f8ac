"""`python -m hermod`."""

from hermod.cli.main import main

main()
