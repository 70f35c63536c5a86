"""Moto's server: S3 in memory, for tests of one process. It checks no signatures."""

import importlib.util
import re
import sys
import urllib.request

from tools.engines.engine import START_SECONDS, Engine
from tools.engines.install import Missing

SERVER = """
from moto.s3.exceptions import NoSuchUpload
from moto.s3.models import S3Backend
from moto.server import main

def correct(name):
    method = getattr(S3Backend, name)

    def corrected(backend, bucket, upload_id, *rest):
        if upload_id not in backend.get_bucket(bucket).multiparts:
            raise NoSuchUpload(upload_id=upload_id)
        return method(backend, bucket, upload_id, *rest)

    setattr(S3Backend, name, corrected)

correct("upload_part")
correct("complete_multipart_upload")
main()
"""
"""Moto 5.2 answers 500 if an upload is unknown; S3 answers NoSuchUpload."""


class Moto(Engine):
    """It has no options, and forgets everything when it ends."""

    name = "moto"
    request = b"GET /moto-api/data.json HTTP/1.0\r\n\r\n"
    reply = re.compile(rb"HTTP/1\.\d 200")

    @classmethod
    def install(cls) -> None:
        if importlib.util.find_spec("moto") is None:
            raise Missing("moto is not installed: make .venv/.dev")

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def command(self, ports: dict[str, int]) -> list[str]:
        return [sys.executable, "-c", SERVER, "-H", self.host, "-p", str(ports["port"])]

    def create_bucket(self, name: str) -> None:
        request = urllib.request.Request(f"{self.url}/{name}", method="PUT")
        request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request")
        with urllib.request.urlopen(request, timeout=START_SECONDS):
            pass
