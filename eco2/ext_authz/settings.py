"""Settings of ext-authz."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from eco2.core.settings import BrokerSettings, CorsSettings, Duration, StreamsSettings
from eco2.core.settings import Settings as BaseSettings


class Settings(BaseSettings, CorsSettings, StreamsSettings, BrokerSettings):
    share_port: bool = False
    """Let other processes with this setting listen on the same gRPC port; the kernel spreads connections over them."""
    stale_after: Duration = timedelta(seconds=60)
    """Longest time without reading the denylist, while the broadcasts are heard; then no request passes."""
    stale_after_unheard: Duration = timedelta(seconds=5)
    """The same while the broadcasts are not heard either."""
    idle_connection: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(minutes=5)
    """Silence after which a connection of the edge is closed, once late requests are answered."""
