"""Readers of stored JSON: one for each form, and no other code reads it by the names of its fields."""

import ast
from collections.abc import Iterator
from pathlib import Path

ECO2 = Path(__file__).parents[2] / "eco2"
DOMAINS = ("auth", "character", "chat", "image", "info", "jobs", "location", "my", "recycling", "scan")
EVERYWHERE = {"Annotated", "AsyncIterator", "Literal", "event", "frame", "headers", "router", "state"}
"""Types, routes, headers, the state of the chat's graph, and events of the bus, which have a contract of their own."""
NOT_STORED = {
    # Answers and files of others, checked field by field where they come in.
    "auth/oauth.py": {"account", "body", "found", "profile", "token"},
    "chat/agent/lists.py": {"row"},
    "chat/kma.py": {"answer", "orjson", "row"},
    "info/cleaning.py": {"node"},
    "info/sources.py": {"content", "entry", "item", "one", "parsed", "tag"},
    "location/importing/formats.py": {"e", "places"},
    "location/importing/job.py": {"container", "cron", "found", "job", "pod"},
    "location/kakao.py": {"body", "document"},
    "recycling/household.py": {"GROUPS", "found"},
    # Answers of the knowledge base, composed for a client in this process.
    "chat/agent/list_nodes.py": {"asking"},
    "chat/agent/nodes.py": {"body", "found", "one", "source", "thing"},
    "recycling/evaluation.py": {"answer", "plain"},
    "recycling/service.py": {"answer", "composed", "item", "told", "topic"},
    # Messages of queues and results of events, as their contracts have them.
    "chat/scans.py": {"found", "classified", "orjson"},
    "chat/worker.py": {"orjson"},
    "jobs/dead_letters.py": {"death", "parsed"},
    # Bodies of requests, and what they change.
    "chat/agent/state.py": {"changes"},
    "chat/conversation.py": {"data"},
    "my/service.py": {"changes"},
    # Columns, groups and rows of figures by their names.
    "jobs/report.py": {"day", "days", "today"},
    "jobs/stats.py": {"store"},
    "location/service.py": {"counted"},
    "recycling/store.py": {"columns"},
    "scan/inspection.py": {"times"},
    "scan/progress.py": {"PROGRESS"},
    # Names of this process: matches of patterns, channels, properties of a server, an object, a token, a document.
    "auth/keys.py": {"jwt"},
    "auth/native_api.py": {"answer", "example"},
    "auth/store.py": {"server"},
    "chat/agent/understanding.py": {"found"},
    "chat/moderation.py": {"endpoints"},
    "chat/scripted.py": {"WORDS", "messages", "orjson"},
    "jobs/backup.py": {"meta", "note", "os"},
    "jobs/objects.py": {"row"},
    "location/hours.py": {"clause", "match", "weekly", "word"},
    "my/main.py": {"channels"},
    "recycling/reminder_run.py": {"said"},
    # Committed files: the report of the evaluation, hosts of push services; tables and weights of the embedded model.
    "chat/evaluation.py": {"before", "found", "one", "part", "report"},
    "recycling/reminders.py": {"row", "yaml"},
    "scan/vision/beliefs.py": {"kept", "row", "shares"},
    "scan/vision/look_alikes.py": {"row"},
    "scan/vision/network.py": {"weights"},
}


def _subscripts(source: Path) -> Iterator[tuple[str, str]]:
    """(name that it begins with, place) of each `x["name"]` and `x.get("name")`."""
    for node in ast.walk(ast.parse(source.read_text())):
        match node:
            case ast.Subscript(value=value, slice=ast.Constant(value=str()), ctx=ast.Load()):
                pass
            case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[ast.Constant(value=str()), *_]):
                pass
            case _:
                continue
        if not (isinstance(value, ast.Attribute) and value.attr == "headers"):
            yield _name(value), f"{source.relative_to(ECO2)}:{node.lineno} {ast.unparse(node)}"


def _name(node: ast.expr) -> str:
    while not isinstance(node, ast.Name):
        match node:
            case ast.Subscript(value=inner) | ast.Attribute(value=inner) | ast.Await(value=inner):
                node = inner
            case ast.Call(func=inner) | ast.BoolOp(values=[inner, *_]):
                node = inner
            case _:
                return ""
    return node.id


def _found() -> Iterator[tuple[str, str, str]]:
    for domain in DOMAINS:
        for source in sorted((ECO2 / domain).rglob("*.py")):
            for name, place in _subscripts(source):
                if name not in EVERYWHERE:
                    yield source.relative_to(ECO2).as_posix(), name, place


def test_stored_json_is_known_to_its_readers_alone() -> None:
    assert [place for source, name, place in _found() if name not in NOT_STORED.get(source, ())] == []


def test_every_exception_is_needed() -> None:
    used = {(source, name) for source, name, _ in _found()}
    assert {(source, name) for source, names in NOT_STORED.items() for name in names} - used == set()
