"""What scan-api answers to other services: a user's data, and what the user prefers."""

from collections.abc import Mapping
from functools import partial

from eco2.contracts.pb import scan_pb2 as pb
from eco2.contracts.pb.scan_pb2_grpc import PreferencesServiceServicer, add_PreferencesServiceServicer_to_server
from eco2.core import user_data
from eco2.core.grpc import Register, uuid_of
from eco2.scan import user_scans
from eco2.scan.service import Services

PREFERENCES = "eco2.scan.v1.PreferencesService"


class Preferences(PreferencesServiceServicer):
    def __init__(self, services: Services) -> None:
        self._services = services

    async def Put(self, request: pb.PutRequest, _context: object) -> pb.PutResponse:  # noqa: N802 - of the protocol
        user = uuid_of(request.user_id, user_data.BAD_ID)
        await user_scans.prefer(self._services.db, user, request.version, request.language, request.district or None)
        return pb.PutResponse()


def registers(services: Services) -> Mapping[str, Register]:
    return {
        PREFERENCES: partial(add_PreferencesServiceServicer_to_server, Preferences(services)),
        user_data.NAME: user_data.register(partial(user_scans.export, services), partial(user_scans.purge, services)),
    }
