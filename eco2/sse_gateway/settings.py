from datetime import timedelta

from pydantic import Field

from eco2.core import settings


class Settings(settings.StreamsSettings, settings.Settings):
    sse_max_duration: settings.Duration = timedelta(seconds=300)
    """A connection that is open for so long gets the timeout frame and is closed."""
    sse_keepalive: settings.Duration = timedelta(seconds=15)
    """Silence after which a keepalive is sent."""
    sse_check: settings.Duration = timedelta(seconds=5)
    """Silence after which the log is read, in case the live copy of an event was lost, and the job's service is asked,
    in case the events themselves were."""
    sse_streams_per_user: int = Field(default=6, ge=1)
    """Open streams of one user on this process; one more is refused with 429."""
    grpc_scan_api: str | None = None
    """`host:port` that tells how a scan stands; without it a stream whose events were lost ends by its time limit."""
    grpc_chat_api: str | None = None
    """The same of the answers in a chat."""
