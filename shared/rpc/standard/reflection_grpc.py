from rookery.purerpc_compat import purerpc
import shared.rpc.standard.reflection_pb2 as shared_dot_rpc_dot_standard_dot_reflection__pb2


class ServerReflectionServicer(purerpc.Servicer):
    async def ServerReflectionInfo(self, input_messages):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "grpc.reflection.v1.ServerReflection"
        )
        service_obj.add_method(
            "ServerReflectionInfo",
            self.ServerReflectionInfo,
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                shared_dot_rpc_dot_standard_dot_reflection__pb2.ServerReflectionRequest,
                shared_dot_rpc_dot_standard_dot_reflection__pb2.ServerReflectionResponse,
            )
        )
        return service_obj


class ServerReflectionStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "grpc.reflection.v1.ServerReflection",
            channel
        )
        self.ServerReflectionInfo = self._client.get_method_stub(
            "ServerReflectionInfo",
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                shared_dot_rpc_dot_standard_dot_reflection__pb2.ServerReflectionRequest,
                shared_dot_rpc_dot_standard_dot_reflection__pb2.ServerReflectionResponse,
            )
        )
