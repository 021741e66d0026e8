"""`eco2 llm …`: stop paid models, and set their prices, while everything runs.

Works on ECO2_DATABASE_URL, or else on the local stack."""

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from eco2.cli import console

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eco2.core.postgres import Database

llm = typer.Typer(help="Paid language models: stop them, set their prices.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="Name of the model, as in `gpt-5.2`.")]
Usd = Annotated[float, typer.Argument(min=0, help="USD per million tokens.")]


@asynccontextmanager
async def _database() -> "AsyncIterator[Database]":
    from eco2.core.postgres import open_database
    from eco2.core.settings import DatabaseSettings

    async with open_database(console.settings(DatabaseSettings), repeat=False) as db:
        yield db


@llm.command()
def stop(why: Annotated[str, typer.Option(help="The reason, for logs and `eco2 llm show`.")] = "") -> None:
    """Stop paid models within two seconds; calls in progress finish. The embedded model and the rules answer."""
    from eco2.llm import control

    async def work() -> None:
        async with _database() as db:
            await control.stop(db, why)

    console.do(work())
    console.out.print("Paid models are stopped. `eco2 llm start` allows them again.")


@llm.command()
def start() -> None:
    """Allow calls of paid models again."""
    from eco2.llm import control

    async def work() -> bool:
        async with _database() as db:
            return await control.start(db)

    console.out.print("Paid models are allowed again." if console.do(work()) else "Nobody had stopped them.")


@llm.command()
def price(model: Model, input_: Usd, output: Usd) -> None:
    """Set the price of a model, for calls that begin two seconds later, in every process."""
    from eco2.llm import control
    from eco2.llm.settings import Price

    async def work() -> None:
        async with _database() as db:
            await control.set_price(db, model, Price(input_, output))

    console.do(work())
    console.out.print(f"{model}: {input_:g} USD in, {output:g} USD out per million tokens", highlight=False)


@llm.command()
def unprice(model: Model) -> None:
    """Use the price of the settings for a model again."""
    from eco2.llm import control

    async def work() -> bool:
        async with _database() as db:
            return await control.drop_price(db, model)

    if not console.do(work()):
        raise typer.Exit(console.say(f"No price was set for {model}; `eco2 llm show` lists them."))
    console.out.print(f"{model} costs what the settings say.", highlight=False)


@llm.command()
def show(as_json: bool = console.AS_JSON) -> None:
    """Show the state of paid models, and every price: those set here, then the built-in ones."""
    from eco2.llm import control
    from eco2.llm.settings import DEFAULT_PRICES

    async def find() -> control.Control:
        async with _database() as db:
            return await control.read(db)

    found = console.do(find())
    known = {name: ("built in", cost) for name, cost in DEFAULT_PRICES.items()}
    known |= {name: ("set", cost) for name, cost in found.prices.items()}
    rows: list[console.Json] = [
        {"model": name, "input": cost.input, "output": cost.output, "from": origin}
        for name, (origin, cost) in sorted(known.items(), key=lambda one: (one[1][0] != "set", one[0]))
    ]
    if not as_json:
        state = f"Paid models are stopped: {found.stopped}" if found.stopped else "Paid models may be called."
        console.out.print(state, markup=False, highlight=False)
    console.show(rows, as_json, "model", "input", "output", "from", empty="No prices.")
