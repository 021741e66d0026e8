"""Writes the public holidays of Korea into data/holidays.yaml, from the library of that name.

`python -m tools.holidays`. The library takes 40 MB of a process, the days 10 kB, so services read the file. What is
decreed for one day (an election, an additional day off) is added by hand under `decreed`, and stays.
"""

from datetime import date
from pathlib import Path

from holidays.countries.south_korea import SouthKorea

FILE = Path(__file__).parents[1] / "data" / "holidays.yaml"
YEARS = range(2024, 2041)
HEAD = """# Public holidays of Korea. `computed` is written by `python -m tools.holidays` with the library `holidays`;
# `decreed` is written by hand, with where it was announced.
"""


def computed() -> dict[date, str]:
    found = SouthKorea(  # type: ignore[no-untyped-call]
        years=YEARS, categories=("public",), language="ko"
    )
    return {day: name for day, name in sorted(found.items()) if day.year in YEARS}


def render(decreed: str) -> str:
    """The file; `decreed` is its last part as it stands."""
    return "\n".join([HEAD + "computed:", *(f"  {day}: {name}" for day, name in computed().items()), decreed])


def decreed(text: str) -> str:
    _, found, rest = text.partition("\ndecreed:")
    return f"decreed:{rest}" if found else "decreed: {}\n"


def main() -> None:
    FILE.write_text(render(decreed(FILE.read_text(encoding="utf-8") if FILE.exists() else "")), encoding="utf-8")


if __name__ == "__main__":
    main()
