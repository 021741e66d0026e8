"""One trace as a tree: spans with their times and processes, and the cause of each gap."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]

GAP_MS = 5.0
"""Shorter gaps are not told."""
LAST_EVENT = "deliver event"
"""Name of the span with which a trace of a scan ends: the gateway has sent the event to a client."""


@dataclass
class Node:
    span: Json
    children: list["Node"] = field(default_factory=list)

    @property
    def start(self) -> int:
        return int(self.span["start"])

    @property
    def end(self) -> int:
        return int(self.span["end"])

    @property
    def milliseconds(self) -> float:
        return (self.end - self.start) / 1e6


def roots(spans: Sequence[Json]) -> list[Node]:
    """The spans as trees, children by their start. A span whose parent is not there is a root of its own."""
    nodes = {span["span_id"]: Node(span) for span in spans}
    found: list[Node] = []
    for node in sorted(nodes.values(), key=lambda node: node.start):
        parent = nodes.get(node.span["parent_id"])
        (parent.children if parent else found).append(node)
    return found


def orphans(spans: Sequence[Json]) -> list[Json]:
    """Spans whose parent did not arrive."""
    known = {span["span_id"] for span in spans}
    return [span for span in spans if span["parent_id"] and span["parent_id"] not in known]


def complete(spans: Sequence[Json]) -> bool:
    """True when the trace has one root, everything in between, and the event with which the job ended."""
    ends = any(span["name"].endswith(" event") and span["attributes"].get("eco2.stage") == "done" for span in spans)
    return len([span for span in spans if not span["parent_id"]]) == 1 and not orphans(spans) and ends


@dataclass(frozen=True)
class Line:
    """A span, or (without one) the cause of a gap. `depth` is that in the tree, times are milliseconds."""

    depth: int
    text: str
    start: float
    milliseconds: float
    span: Json | None = None


def lines(spans: Sequence[Json]) -> list[Line]:
    """The tree from top to bottom; times count from the start of the trace."""
    found = roots(spans)
    if not found:
        return []
    zero = min(node.start for node in found)
    return [line for node in found for line in _of(node, 0, zero)]


def _of(node: Node, depth: int, zero: int) -> Iterator[Line]:
    yield Line(depth, node.span["name"], (node.start - zero) / 1e6, node.milliseconds, node.span)
    reached = node.start
    for child in node.children:
        within = child.start < node.end  # a later one runs beside its parent
        since = reached if within else max(reached, node.end)
        gap = (child.start - since) / 1e6
        if gap >= GAP_MS:
            why = f"{node.span['process']} works" if within and not _sent(node) else _wait(node, child)
            yield Line(depth + 1, why, (since - zero) / 1e6, gap)
        yield from _of(child, depth + 1, zero)
        reached = max(since, child.end if within else child.start)
    rest = (node.end - reached) / 1e6
    if node.children and rest >= GAP_MS and not _sent(node):
        yield Line(depth + 1, f"{node.span['process']} works", (reached - zero) / 1e6, rest)


def _sent(node: Node) -> bool:
    """True of a message on its way: the broker may hand it over before it confirms it to the sender."""
    return bool(node.span["kind"] == "producer")


def _wait(parent: Node, child: Node) -> str:
    if _sent(parent):
        return f"waits in the queue {child.span['name']}"
    return "is passed on"


def summary(spans: Sequence[Json]) -> dict[str, object]:
    """Totals of a trace: its length, its processes, and the time from sending messages to their work."""
    found = roots(spans)
    waited = sum(
        max(0.0, (child.start - node.start) / 1e6) for node in _all(found) if _sent(node) for child in node.children
    )
    length = (max(node.end for node in _all(found)) - min(node.start for node in found)) / 1e6 if found else 0.0
    return {
        "milliseconds": round(length, 1),
        "queue_milliseconds": round(waited, 1),
        "spans": len(spans),
        "processes": sorted({span["process"] for span in spans}),
        "complete": complete(spans),
    }


def _all(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from _all(node.children)
