"""`python -m eco2.cli`: the `eco2` command without its installed script."""

from eco2.cli.main import main

main()
