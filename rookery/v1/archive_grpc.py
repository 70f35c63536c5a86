from rookery.purerpc_compat import purerpc
import rookery.v1.archive_pb2 as rookery_dot_v1_dot_archive__pb2
import rookery.v1.files_pb2 as rookery_dot_v1_dot_files__pb2
import rookery.v1.groups_pb2 as rookery_dot_v1_dot_groups__pb2
import rookery.v1.session_pb2 as rookery_dot_v1_dot_session__pb2


class ArchiveServiceServicer(purerpc.Servicer):
    async def ListChats(self, input_message):
        raise NotImplementedError()

    async def GetChat(self, input_message):
        raise NotImplementedError()

    async def ListMessages(self, input_message):
        raise NotImplementedError()

    async def GetMessage(self, input_message):
        raise NotImplementedError()

    async def ListChanges(self, input_message):
        raise NotImplementedError()

    async def ListVersions(self, input_message):
        raise NotImplementedError()

    async def FindSent(self, input_message):
        raise NotImplementedError()

    async def ListMembers(self, input_message):
        raise NotImplementedError()

    async def ListMarks(self, input_message):
        raise NotImplementedError()

    async def ListPublicChats(self, input_message):
        raise NotImplementedError()

    async def GetGroup(self, input_message):
        raise NotImplementedError()

    async def ReserveFile(self, input_message):
        raise NotImplementedError()

    async def CompleteFile(self, input_message):
        raise NotImplementedError()

    async def CancelFile(self, input_message):
        raise NotImplementedError()

    async def GetFiles(self, input_message):
        raise NotImplementedError()

    async def GetReportedFile(self, input_message):
        raise NotImplementedError()

    async def ListChatFiles(self, input_message):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "rookery.v1.ArchiveService"
        )
        service_obj.add_method(
            "ListChats",
            self.ListChats,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListChatsRequest,
                rookery_dot_v1_dot_archive__pb2.ListChatsResponse,
            )
        )
        service_obj.add_method(
            "GetChat",
            self.GetChat,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.GetChatRequest,
                rookery_dot_v1_dot_archive__pb2.GetChatResponse,
            )
        )
        service_obj.add_method(
            "ListMessages",
            self.ListMessages,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListMessagesRequest,
                rookery_dot_v1_dot_archive__pb2.ListMessagesResponse,
            )
        )
        service_obj.add_method(
            "GetMessage",
            self.GetMessage,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.GetMessageRequest,
                rookery_dot_v1_dot_archive__pb2.GetMessageResponse,
            )
        )
        service_obj.add_method(
            "ListChanges",
            self.ListChanges,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListChangesRequest,
                rookery_dot_v1_dot_archive__pb2.ListChangesResponse,
            )
        )
        service_obj.add_method(
            "ListVersions",
            self.ListVersions,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListVersionsRequest,
                rookery_dot_v1_dot_archive__pb2.ListVersionsResponse,
            )
        )
        service_obj.add_method(
            "FindSent",
            self.FindSent,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.FindSentRequest,
                rookery_dot_v1_dot_archive__pb2.FindSentResponse,
            )
        )
        service_obj.add_method(
            "ListMembers",
            self.ListMembers,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListMembersRequest,
                rookery_dot_v1_dot_archive__pb2.ListMembersResponse,
            )
        )
        service_obj.add_method(
            "ListMarks",
            self.ListMarks,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListMarksRequest,
                rookery_dot_v1_dot_archive__pb2.ListMarksResponse,
            )
        )
        service_obj.add_method(
            "ListPublicChats",
            self.ListPublicChats,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListPublicChatsRequest,
                rookery_dot_v1_dot_archive__pb2.ListPublicChatsResponse,
            )
        )
        service_obj.add_method(
            "GetGroup",
            self.GetGroup,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.GetGroupRequest,
                rookery_dot_v1_dot_archive__pb2.GetGroupResponse,
            )
        )
        service_obj.add_method(
            "ReserveFile",
            self.ReserveFile,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ReserveFileRequest,
                rookery_dot_v1_dot_archive__pb2.ReserveFileResponse,
            )
        )
        service_obj.add_method(
            "CompleteFile",
            self.CompleteFile,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.CompleteFileRequest,
                rookery_dot_v1_dot_archive__pb2.CompleteFileResponse,
            )
        )
        service_obj.add_method(
            "CancelFile",
            self.CancelFile,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.CancelFileRequest,
                rookery_dot_v1_dot_archive__pb2.CancelFileResponse,
            )
        )
        service_obj.add_method(
            "GetFiles",
            self.GetFiles,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.GetFilesRequest,
                rookery_dot_v1_dot_archive__pb2.GetFilesResponse,
            )
        )
        service_obj.add_method(
            "GetReportedFile",
            self.GetReportedFile,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.GetReportedFileRequest,
                rookery_dot_v1_dot_archive__pb2.GetReportedFileResponse,
            )
        )
        service_obj.add_method(
            "ListChatFiles",
            self.ListChatFiles,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListChatFilesRequest,
                rookery_dot_v1_dot_archive__pb2.ListChatFilesResponse,
            )
        )
        return service_obj


class ArchiveServiceStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "rookery.v1.ArchiveService",
            channel
        )
        self.ListChats = self._client.get_method_stub(
            "ListChats",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListChatsRequest,
                rookery_dot_v1_dot_archive__pb2.ListChatsResponse,
            )
        )
        self.GetChat = self._client.get_method_stub(
            "GetChat",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.GetChatRequest,
                rookery_dot_v1_dot_archive__pb2.GetChatResponse,
            )
        )
        self.ListMessages = self._client.get_method_stub(
            "ListMessages",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListMessagesRequest,
                rookery_dot_v1_dot_archive__pb2.ListMessagesResponse,
            )
        )
        self.GetMessage = self._client.get_method_stub(
            "GetMessage",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.GetMessageRequest,
                rookery_dot_v1_dot_archive__pb2.GetMessageResponse,
            )
        )
        self.ListChanges = self._client.get_method_stub(
            "ListChanges",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListChangesRequest,
                rookery_dot_v1_dot_archive__pb2.ListChangesResponse,
            )
        )
        self.ListVersions = self._client.get_method_stub(
            "ListVersions",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListVersionsRequest,
                rookery_dot_v1_dot_archive__pb2.ListVersionsResponse,
            )
        )
        self.FindSent = self._client.get_method_stub(
            "FindSent",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.FindSentRequest,
                rookery_dot_v1_dot_archive__pb2.FindSentResponse,
            )
        )
        self.ListMembers = self._client.get_method_stub(
            "ListMembers",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListMembersRequest,
                rookery_dot_v1_dot_archive__pb2.ListMembersResponse,
            )
        )
        self.ListMarks = self._client.get_method_stub(
            "ListMarks",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListMarksRequest,
                rookery_dot_v1_dot_archive__pb2.ListMarksResponse,
            )
        )
        self.ListPublicChats = self._client.get_method_stub(
            "ListPublicChats",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListPublicChatsRequest,
                rookery_dot_v1_dot_archive__pb2.ListPublicChatsResponse,
            )
        )
        self.GetGroup = self._client.get_method_stub(
            "GetGroup",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.GetGroupRequest,
                rookery_dot_v1_dot_archive__pb2.GetGroupResponse,
            )
        )
        self.ReserveFile = self._client.get_method_stub(
            "ReserveFile",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ReserveFileRequest,
                rookery_dot_v1_dot_archive__pb2.ReserveFileResponse,
            )
        )
        self.CompleteFile = self._client.get_method_stub(
            "CompleteFile",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.CompleteFileRequest,
                rookery_dot_v1_dot_archive__pb2.CompleteFileResponse,
            )
        )
        self.CancelFile = self._client.get_method_stub(
            "CancelFile",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.CancelFileRequest,
                rookery_dot_v1_dot_archive__pb2.CancelFileResponse,
            )
        )
        self.GetFiles = self._client.get_method_stub(
            "GetFiles",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.GetFilesRequest,
                rookery_dot_v1_dot_archive__pb2.GetFilesResponse,
            )
        )
        self.GetReportedFile = self._client.get_method_stub(
            "GetReportedFile",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.GetReportedFileRequest,
                rookery_dot_v1_dot_archive__pb2.GetReportedFileResponse,
            )
        )
        self.ListChatFiles = self._client.get_method_stub(
            "ListChatFiles",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                rookery_dot_v1_dot_archive__pb2.ListChatFilesRequest,
                rookery_dot_v1_dot_archive__pb2.ListChatFilesResponse,
            )
        )
