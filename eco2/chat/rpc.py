"""gRPC services of chat-api: a user's data."""

from collections.abc import Mapping
from functools import partial

from eco2.chat import service
from eco2.chat.service import Services
from eco2.core import user_data
from eco2.core.grpc import Register


def registers(services: Services) -> Mapping[str, Register]:
    return {user_data.NAME: user_data.register(partial(service.export, services), partial(service.purge, services))}
