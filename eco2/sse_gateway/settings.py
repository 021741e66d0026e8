from datetime import timedelta

from eco2.core import settings


class Settings(settings.StreamsSettings, settings.Settings):
    sse_max_duration: settings.Duration = timedelta(seconds=300)
    """A connection that is open for so long gets the timeout frame and is closed."""
    sse_keepalive: settings.Duration = timedelta(seconds=15)
    """Silence after which a keepalive is sent."""
    sse_check: settings.Duration = timedelta(seconds=5)
    """Silence after which the log is read, in case the live copy of an event was lost."""
