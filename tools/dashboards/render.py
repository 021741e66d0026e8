"""JSON of Grafana from the boards, by Grafana's own builders."""

import itertools
import json
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from tools.dashboards.boards import BOARDS, Board, Panel

FOLDER = Path(__file__).parents[2] / "workloads" / "monitoring" / "base" / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
"""Chosen at the head of a dashboard; the default one, where nobody chooses."""
WIDTH, HEIGHT = 8, 7


def render(name: str, board: Board) -> str:
    """The file as it is committed."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"eco2-{name}")
        .tags(["eco2"])
        .refresh("1m")
        .time("now-6h", "now")
        .timezone("browser")
        .readonly()
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
    )
    number = itertools.count(1)
    for title, panels in board.rows.items():
        made = made.with_row(dashboard.Row(title).id(next(number)))
        for panel in panels:
            made = made.with_panel(_panel(panel, next(number)))
    return (
        json.dumps(json.loads(JSONEncoder().encode(made.build())), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    )


def _panel(panel: Panel, number: int) -> stat.Panel | timeseries.Panel:
    made: stat.Panel | timeseries.Panel = stat.Panel() if panel.stat else timeseries.Panel().fill_opacity(10)
    made = made.title(panel.title).description(panel.help).unit(panel.unit).datasource(SOURCE)
    made = made.id(number).span(WIDTH).height(HEIGHT)
    for place, (legend, query) in enumerate(panel.queries.items()):
        made = made.with_target(_query(chr(ord("A") + place), legend, query, panel.stat))
    return made


def _query(place: str, legend: str, query: str, now: bool) -> prometheus.Dataquery:
    """With exemplars where the query is of a histogram: they lead to traces."""
    made = prometheus.Dataquery().ref_id(place).expr(query).legend_format(legend)
    return made.instant() if now else made.range().exemplar("_bucket" in query)


def files() -> dict[str, str]:
    """Name → content of every file."""
    return {f"{name}.json": render(name, board) for name, board in BOARDS.items()}


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for name, text in files().items():
        (FOLDER / name).write_text(text)
