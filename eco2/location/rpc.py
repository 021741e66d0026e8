"""gRPC of location-api: `eco2.location.v1.LocationService` and the data of a user."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from eco2.contracts.pb import location_pb2 as pb
from eco2.contracts.pb.location_pb2_grpc import LocationServiceServicer, add_LocationServiceServicer_to_server
from eco2.core import user_data
from eco2.core.errors import BadRequest
from eco2.core.grpc import Register
from eco2.location import feedback_store, service
from eco2.location.service import Services

NAME = "eco2.location.v1.LocationService"
LIMIT = 10


class BadCoordinates(BadRequest):
    """Latitude and longitude are degrees."""

    code = "INVALID_COORDINATES"


class Locations(LocationServiceServicer):
    def __init__(self, services: Services) -> None:
        self._services = services

    async def SearchNearby(  # noqa: N802 - of the protocol
        self, request: pb.SearchNearbyRequest, _context: object
    ) -> pb.SearchNearbyResponse:
        lat, lon = request.latitude, request.longitude
        if not (math.isfinite(lat) and math.isfinite(lon) and abs(lat) <= 90 and abs(lon) <= 180):
            raise BadCoordinates
        chosen = service.filters(
            self._services.knowledge, request.store_category, request.pickup_category, request.stream
        )
        radius = min(request.radius or service.GRPC_RADIUS, service.RADIUS_MAX)
        limit = min(request.limit or LIMIT, service.GRPC_LIMIT_MAX)
        found = await service.centers(self._services, lat, lon, radius, chosen, limit, datetime.now(UTC))
        return pb.SearchNearbyResponse(entries=[_place(one) for one in found], total_count=len(found))


def _place(one: service.Entry) -> pb.Place:
    return pb.Place(
        id=one.id,
        name=one.name,
        road_address=one.road_address,
        latitude=one.latitude or 0.0,
        longitude=one.longitude or 0.0,
        distance_km=one.distance_km,
        distance_text=one.distance_text or "",
        store_category=one.store_category,
        pickup_categories=one.pickup_categories,
        is_open=one.is_open,
        phone=one.phone,
        dataset=one.dataset or "",
        streams=one.streams,
    )


def registers(services: Services) -> Mapping[str, Register]:
    return {
        NAME: partial(add_LocationServiceServicer_to_server, Locations(services)),
        user_data.NAME: _user_data(services),
    }


def _user_data(services: Services) -> Register:
    async def export(user: UUID, _cursor: str) -> tuple[user_data.Records, str]:
        return [("place_reports", row) for row in await feedback_store.of_user(services.db, user)], ""

    async def purge(user: UUID) -> int:
        return await feedback_store.forget(services.db, user)

    return user_data.register(export, purge)
