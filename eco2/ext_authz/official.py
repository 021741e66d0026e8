"""The slow twin of `http2.Server`: the same methods on grpc.aio (docs/short-cuts.md)."""

from collections.abc import Awaitable, Callable, Mapping

import grpc

from eco2.ext_authz.http2 import Method


class OfficialServer:
    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = methods
        self._server: grpc.aio.Server | None = None

    async def listen(self, host: str, port: int, *, share: bool = False) -> int:
        """The port, which the system picks for 0. OSError or RuntimeError when it is taken."""
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", int(share)),))
        for path, method in self._methods.items():
            service, _, name = path.removeprefix("/").rpartition("/")
            handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_asynchronous(method))
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
        bound = self._server.add_insecure_port(f"{host}:{port}")
        await self._server.start()
        return bound

    async def check_ready(self) -> None:
        """Raises when the server does not listen."""
        if self._server is None:
            raise RuntimeError("not serving")

    async def close(self, grace: float) -> None:
        """Returns when calls in flight are answered, or cut off after `grace` seconds."""
        if self._server is not None:
            await self._server.stop(grace)
            self._server = None


def _asynchronous(method: Method) -> Callable[..., Awaitable[bytes]]:
    async def answer(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        try:
            return method(request)
        except Exception:  # noqa: BLE001 - whatever it is, the caller hears no more of it
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")

    return answer
