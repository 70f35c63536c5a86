from rookery.purerpc_compat import purerpc
import rookery.v1.group_service_pb2 as rookery_dot_v1_dot_group_service__pb2
import rookery.v1.groups_pb2 as rookery_dot_v1_dot_groups__pb2
import rookery.v1.session_pb2 as rookery_dot_v1_dot_session__pb2


class GroupServiceServicer(purerpc.Servicer):
    async def ChangeGroup(self, input_message):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "rookery.v1.GroupService"
        )
        service_obj.add_method(
            "ChangeGroup",
            self.ChangeGroup,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_group_service__pb2.ChangeGroupRequest,
                rookery_dot_v1_dot_group_service__pb2.ChangeGroupResponse,
            )
        )
        return service_obj


class GroupServiceStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "rookery.v1.GroupService",
            channel
        )
        self.ChangeGroup = self._client.get_method_stub(
            "ChangeGroup",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_group_service__pb2.ChangeGroupRequest,
                rookery_dot_v1_dot_group_service__pb2.ChangeGroupResponse,
            )
        )
