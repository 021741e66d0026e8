from datetime import timedelta
from socket import gethostname

from pydantic import Field

from eco2.core import settings


class Settings(settings.StreamsSettings, settings.Settings):
    router_consumer: str = ""
    """Name within the consumer group; default `<host name>:<port>`, the same after a restart on the same machine."""
    router_batch: int = Field(default=200, ge=1, le=1000)
    """Entries forwarded in one step, per shard."""
    router_reclaim_idle: settings.Duration = timedelta(seconds=5)
    """An entry that a router has held for so long is taken over by another one."""
    router_reclaim_every: settings.Duration = timedelta(seconds=2)

    @property
    def consumer(self) -> str:
        return self.router_consumer or f"{gethostname()}:{self.port}"
