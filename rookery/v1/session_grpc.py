from rookery.purerpc_compat import purerpc
import rookery.v1.session_pb2 as rookery_dot_v1_dot_session__pb2
import rookery.v1.files_pb2 as rookery_dot_v1_dot_files__pb2
import rookery.v1.groups_pb2 as rookery_dot_v1_dot_groups__pb2
import rookery.v1.kinds_pb2 as rookery_dot_v1_dot_kinds__pb2


class SessionServiceServicer(purerpc.Servicer):
    async def Connect(self, input_messages):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "rookery.v1.SessionService"
        )
        service_obj.add_method(
            "Connect",
            self.Connect,
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                rookery_dot_v1_dot_session__pb2.ClientFrame,
                rookery_dot_v1_dot_session__pb2.ServerFrame,
            )
        )
        return service_obj


class SessionServiceStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "rookery.v1.SessionService",
            channel
        )
        self.Connect = self._client.get_method_stub(
            "Connect",
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                rookery_dot_v1_dot_session__pb2.ClientFrame,
                rookery_dot_v1_dot_session__pb2.ServerFrame,
            )
        )
