"""Dependencies of the scan services."""

from dataclasses import dataclass, field

from eco2.core.postgres import Database
from eco2.core.storage import Storage
from eco2.knowledge import Knowledge
from eco2.messaging.broker import Publisher
from eco2.messaging.events import EventBus
from eco2.scan import store
from eco2.scan.in_work import InWork
from eco2.scan.marks import Marks
from eco2.scan.polled import Polled
from eco2.scan.recent_jobs import RecentJobs


@dataclass(frozen=True)
class Services:
    """Dependencies of the scan service. Worker stages also get the vision model."""

    db: Database
    storage: Storage
    bus: EventBus
    publisher: Publisher
    knowledge: Knowledge
    upload_secret: str
    recent_jobs: RecentJobs = field(default_factory=RecentJobs, kw_only=True)
    in_work: InWork = field(default_factory=InWork, kw_only=True)
    queued_marks: Marks = field(default_factory=lambda: Marks("queued", store.enqueued), kw_only=True)
    announced_marks: Marks = field(default_factory=lambda: Marks("announced", store.announced), kw_only=True)
    polled: Polled = field(default_factory=Polled, kw_only=True)
