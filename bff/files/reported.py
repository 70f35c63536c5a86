"""Files of reported messages: links for admins, and the check of each use of a link.

A file is readable while the report is open and the message has the file: whoever deletes the message takes it away from
the admins, too. The report keeps the metadata only, so it keeps no bytes alive."""

from bff.files.links import FileLink, FileLinks
from bff.files.models import Link, WantedReportedFile
from bff.files.served import has_rendition
from bff.services import Services, administration_of
from rookery.v1.archive_pb2 import GetReportedFileRequest, StoredFile
from rookery.v1.files_pb2 import FileRef
from shared.accounts.audit import Actor
from shared.accounts.people import Report
from shared.accounts.tokens import Claims
from shared.contract.errors import Code, Refusal


class ReportedFiles:
    """The files of open reports, for admins."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._administration = administration_of(services)
        self._links = FileLinks(services.issuer.keys, services.clock_ms)

    async def open(self, admin: Claims, actor: Actor, report_id: int, wanted: WantedReportedFile) -> Link | Refusal:
        """Record that the admin opens a file of an open report, and return its link. Raises Unavailable."""
        report = await self._administration.find_open_report(report_id)
        if isinstance(report, Refusal):
            return report
        if (wanted.message_id, wanted.file_id) not in report.files:
            return Refusal(Code.NOT_FOUND, "The report has no such file.", field="message_id")
        link = FileLink(
            wanted.file_id,
            admin.user_id,
            admin.family_id,
            self._links.expiry(admin.user_id),
            report.chat_id,
            wanted.message_id,
            wanted.rendition,
            is_download=wanted.download,
            report_id=report_id,
        )
        stored = await self._stored(link)
        if isinstance(stored, Refusal):
            return stored
        if not has_rendition(stored.file, link.rendition):
            return Refusal(Code.NOT_FOUND, "The file has no such rendition.", field="rendition")
        await self._administration.open_reported_file(actor, report_id, link.file_id)
        return await self._links.sign(link, stored.file)

    async def read(self, link: FileLink) -> StoredFile | Refusal:
        """The file of a link that `open` made; a Refusal once the report is closed, or the message lost the file."""
        report = await self._administration.find_open_report(link.report_id)
        return await self._stored(link) if isinstance(report, Report) else report

    async def _stored(self, link: FileLink) -> StoredFile | Refusal:
        ref = FileRef(file_id=link.file_id, chat_id=link.chat_id, message_id=link.message_id)
        response = await self._services.archive.get_reported_file(GetReportedFileRequest(file=ref))
        return response if isinstance(response, Refusal) else response.file
