"""The command `eco2`. `eco2 run NAME`, as the image starts a process, does not load the command line: that costs MB."""

import sys


def main() -> None:
    if sys.argv[1:2] == ["run"] and len(sys.argv) == 3 and not sys.argv[2].startswith("-"):
        from eco2.run import run

        run(sys.argv[2])
    else:
        from eco2.cli.main import main as command_line

        command_line()


if __name__ == "__main__":
    main()
