"""The committed page of metrics is the code's, and no label is without a bound."""

from pathlib import Path

import pytest

from tools import metrics

PAGE = Path(__file__).parents[2] / "docs/metrics.md"


@pytest.fixture(scope="module")
def catalogue() -> list[metrics.Metric]:
    return metrics.catalogue()


def test_the_committed_page_is_the_codes(catalogue: list[metrics.Metric]) -> None:
    assert PAGE.read_text() == metrics.render(catalogue), "run `make metrics` and commit the change"


def test_every_label_is_from_a_closed_set(catalogue: list[metrics.Metric]) -> None:
    used = {label for metric in catalogue for label in metric.labels}
    assert used == metrics.LABELS.keys()


def test_names_are_unique_and_every_metric_has_an_exporter(catalogue: list[metrics.Metric]) -> None:
    names = [metric.name for metric in catalogue]
    assert len(set(names)) == len(names)
    assert [metric.name for metric in catalogue if not metric.processes] == []
