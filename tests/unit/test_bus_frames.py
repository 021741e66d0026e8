import orjson
import pytest
from opentelemetry.sdk.trace import TracerProvider

from eco2.contracts.events import Draft, Stage, Status
from eco2.event_router.router import Entry, parse
from eco2.messaging.events import Head, frame_of
from eco2.sse_gateway.app import resume_point
from eco2.sse_gateway.hub import KEPT_FRAMES, Frame, Listener, _Channel, _deliver

JOB = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def frame(number: int, **changes: object) -> str:
    fields = {"job_id": JOB, "stage": "rule", "status": "started", "seq": number}
    return orjson.dumps(fields | changes).decode()


def test_a_frame_has_every_field() -> None:
    event = frame_of(JOB, Draft(Stage.VISION, Status.STARTED, 10))
    assert float(str(event.pop("ts"))) > 1.7e9
    assert event == {
        "job_id": JOB,
        "stage": "vision",
        "status": "started",
        "progress": 10,
        "result": "",
        "traceparent": "",
    }


def test_result_and_message_are_kept_as_given() -> None:
    draft = Draft(Stage.DONE, Status.FAILED, 100, result={"이름": "페트병"}, message="줄\n바꿈")
    text = orjson.dumps(frame_of(JOB, draft))
    assert b"\n" not in text
    event = orjson.loads(text)
    assert (event["result"], event["message"]) == ({"이름": "페트병"}, "줄\n바꿈")


def test_the_trace_of_the_current_span_is_carried() -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("work") as span:
        event = {**frame_of(JOB, Draft(Stage.RULE, Status.STARTED, 50)), "seq": 1}
    context = span.get_span_context()
    trace_id, span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    assert event["traceparent"] == f"00-{trace_id}-{span_id}-{int(context.trace_flags):02x}"
    sent = Frame(orjson.dumps({**event, "stream_id": "1-0"}).decode()).data.decode()
    data = orjson.loads(sent.split("data: ")[1])
    assert data == {**event, "stream_id": "1-0", "trace_id": trace_id, "span_id": span_id}


def test_outside_of_a_trace_its_ids_are_empty_texts() -> None:
    data = orjson.loads(Frame(frame(1, traceparent="")).data.decode().split("data: ")[1])
    assert (data["trace_id"], data["span_id"]) == ("", "")


def test_a_good_entry_gains_its_stream_id() -> None:
    event = parse(Entry("events:0", "5-0", {"job_id": JOB, "seq": "3", "frame": frame(3)}))
    assert (event.job_id, event.seq) == (JOB, 3)
    assert orjson.loads(event.frame)["stream_id"] == "5-0"


def test_a_frame_of_several_lines_becomes_one() -> None:
    pretty = frame(3).replace(",", ",\n", 1) + "\n"
    event = parse(Entry("events:0", "5-0", {"job_id": JOB, "seq": "3", "frame": pretty}))
    assert "\n" not in event.frame
    assert orjson.loads(event.frame) == {**orjson.loads(frame(3)), "stream_id": "5-0"}


@pytest.mark.parametrize(
    "fields",
    [
        None,
        {},
        {"job_id": JOB},
        {"job_id": JOB, "frame": "{"},
        {"job_id": JOB, "frame": "[1]"},
        {"job_id": JOB, "frame": "3"},
        {"job_id": "another-job", "frame": frame(1)},
        {"job_id": "a:b", "frame": frame(1, job_id="a:b")},
        {"job_id": JOB, "frame": frame(0)},
        {"job_id": JOB, "frame": frame(1, seq="1")},
        {"job_id": JOB, "frame": frame(1, seq=True)},
        {"job_id": JOB, "frame": frame(1, stage=None)},
    ],
)
def test_what_is_no_event_is_poison(fields: dict[str, str] | None) -> None:
    with pytest.raises(ValueError):
        parse(Entry("events:0", "1-0", fields))


@pytest.mark.parametrize(
    ("last_event_id", "seq"),
    [
        ("", 0),
        ("3", 3),
        ("recovery:5", 5),
        ("progress:2", 2),
        ("none", 0),
        ("-3", 3),
        ("9", 9),
        ("10", 0),
        ("1732245346123-0", 0),
        ("9" * 5000, 0),
        ("²", 0),
    ],
)
def test_resume_point_is_read_leniently(last_event_id: str, seq: int) -> None:
    assert resume_point(last_event_id, Head(owner="u", seq=9, terminal=0)) == seq


def test_a_listener_hands_out_what_follows_and_forgets_what_is_old() -> None:
    listener = Listener()
    for seq in (3, 2, 2, 1, 5):
        listener.put(Frame(frame(seq)))
    assert [f.seq for f in listener.take(1)] == [2, 3]
    assert list(listener.frames) == [5]
    assert listener.take(3) == []
    assert [f.seq for f in listener.take(4)] == [5]


def test_a_listener_that_is_not_emptied_stays_small_and_awake() -> None:
    listener = Listener()
    for seq in range(1000):
        listener.put(Frame(frame(seq + 1)))
    assert len(listener.frames) == KEPT_FRAMES
    assert len(listener.take(0)) == KEPT_FRAMES
    assert listener.woken, "frames were dropped, so the log has to be read next"
    assert listener.take(KEPT_FRAMES) == []
    assert not listener.woken


async def test_a_live_message_may_hold_several_frames() -> None:
    """A frame may hold any character but the line feed that parts frames."""
    entry, listener = _Channel(), Listener()
    entry.listeners.append(listener)
    _deliver(entry, "\n".join((frame(1, message="a\u2028b\x85c"), frame(2))))
    assert [f.seq for f in listener.take(0)] == [1, 2]
    _deliver(entry, f"{frame(3)}\nno frame")
    assert listener.take(2) == [], "the log has it"
