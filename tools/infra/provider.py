"""A Terraform provider that has a schema and nothing behind it.

Enough for `terraform init`, `validate`, and `terraform test` with `mock_provider`; it never contacts a cloud. Terraform
runs it as terraform-provider-NAME, a script that names this module's file and the schema of `schema.py`.
"""

# ruff: noqa: ARG002, N802  the names and arguments are those of the protocol
import base64
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from tf.gen import (
    grpc_controller_pb2,
    grpc_controller_pb2_grpc,
    grpc_stdio_pb2_grpc,
    tfplugin_pb2,
    tfplugin_pb2_grpc,
)
from tf.runner import _self_signed_cert

Json = dict[str, Any]
Nested = tfplugin_pb2.Schema.NestedBlock
NESTING = {"single": Nested.SINGLE, "one": Nested.LIST, "list": Nested.LIST, "set": Nested.SET}


def block(schema: Json) -> Any:
    result = tfplugin_pb2.Schema.Block()
    for name, row in schema["attributes"].items():
        required = row["required"]
        result.attributes.add(
            name=name,
            type=json.dumps(row["type"]).encode(),
            required=required,
            computed=row["computed"] and not required,
            optional=not required and (row["optional"] or not row["computed"]),
        )
    for name, row in schema["blocks"].items():
        nested = result.block_types.add(type_name=name, nesting=NESTING[row["nesting"]])
        nested.block.CopyFrom(block(row["block"]))
        if row["nesting"] == "one":
            nested.max_items = 1
        if row["required"] and row["nesting"] != "single":
            nested.min_items = 1
    return result


class Provider(tfplugin_pb2_grpc.ProviderServicer):  # type: ignore[misc]
    """Agrees with everything: what is proposed is what comes."""

    def __init__(self, schema: Json) -> None:
        self._schema = schema

    def GetMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "ask for the schema")

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        result = tfplugin_pb2.GetProviderSchema.Response(
            provider=tfplugin_pb2.Schema(block=block(self._schema["provider"]))
        )
        for name, row in self._schema["resources"].items():
            result.resource_schemas[name].CopyFrom(tfplugin_pb2.Schema(block=block(row)))
        for name, row in self._schema["data"].items():
            result.data_source_schemas[name].CopyFrom(tfplugin_pb2.Schema(block=block(row)))
        return result

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        return tfplugin_pb2.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        return tfplugin_pb2.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        return tfplugin_pb2.ValidateDataResourceConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        return tfplugin_pb2.ConfigureProvider.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        state = tfplugin_pb2.DynamicValue(json=request.raw_state.json)
        return tfplugin_pb2.UpgradeResourceState.Response(upgraded_state=state)

    def GetFunctions(self, request: Any, context: Any) -> Any:
        return tfplugin_pb2.GetFunctions.Response()

    def StopProvider(self, request: Any, context: Any) -> Any:
        return tfplugin_pb2.StopProvider.Response()


def serve(schema: Path) -> None:
    stopped = threading.Event()

    class Controller(grpc_controller_pb2_grpc.GRPCControllerServicer):  # type: ignore[misc]
        def Shutdown(self, request: Any, context: Any) -> Any:
            stopped.set()
            return grpc_controller_pb2.Empty()

    class Output(grpc_stdio_pb2_grpc.GRPCStdioServicer):  # type: ignore[misc]
        def StreamStdio(self, request: Any, context: Any) -> Iterator[Any]:
            stopped.wait()
            return iter([])

    server = grpc.server(futures.ThreadPoolExecutor(10), options=[("grpc.max_send_message_length", -1)])
    tfplugin_pb2_grpc.add_ProviderServicer_to_server(Provider(json.loads(schema.read_bytes())), server)
    grpc_controller_pb2_grpc.add_GRPCControllerServicer_to_server(Controller(), server)
    grpc_stdio_pb2_grpc.add_GRPCStdioServicer_to_server(Output(), server)
    chain, credentials = _self_signed_cert()
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/provider.sock"
        server.add_secure_port(f"unix://{socket}", credentials)
        server.start()
        # go-plugin's handshake: core and protocol version, where it listens, and its certificate.
        print("|".join(["1", "6", "unix", socket, "grpc", base64.b64encode(chain).decode().rstrip("=")]), flush=True)
        stopped.wait()
        server.stop(0.1)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
