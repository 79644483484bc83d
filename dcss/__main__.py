"""`python -m dcss`."""

from dcss.cli.main import main

main()
