"""Generates Python from the protos, into the folder of the same name: messages, their types, and purerpc's service
classes and stubs. It also generates the AsyncAPI document of `asyncapi.py` for authors of clients, and the types of
`page_types.py` for the page.

python -m tools.protos.generate          write the files
python -m tools.protos.generate --check  exit 1 if the committed files are out of date
"""

import sys
import tempfile
from pathlib import Path

import grpc_tools
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from tools.protos import asyncapi, page_types
from tools.protos.asyncapi import short_name

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
STANDARD_PROTOS = Path(grpc_tools.__file__).parent / "_proto"
FOLDERS = ("rookery/v1", "shared/rpc/standard")
FILES = PROTOS / "rookery/v1/files.proto"
GROUPS = PROTOS / "rookery/v1/groups.proto"
SESSION = PROTOS / "rookery/v1/session.proto"
ARCHIVE = PROTOS / "rookery/v1/archive.proto"
ASYNCAPI = "rookery/v1/asyncapi.json"
PAGE_TYPES = "web/wire.js"
PAGE_KINDS = "web/kinds.js"
# purerpc's plugin script does not start beside a newer h2, so this one imports rookery.purerpc_compat first: the file
# alone, since its package may import generated code. It does not claim to support `optional`, which only concerns
# messages, so the claim is appended: two encoded responses are one.
PLUGIN = f"""#!{sys.executable}
import runpy
import sys
runpy.run_path({str(ROOT / "rookery/purerpc_compat.py")!r})
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorResponse as Response
from purerpc.protoc_plugin.plugin import main
main()
sys.stdout.buffer.write(Response(supported_features=Response.FEATURE_PROTO3_OPTIONAL).SerializeToString())
"""


def generate(target: Path) -> None:
    """Generate the code of every proto below `target`. Raises RuntimeError if protoc fails."""
    sources = [source for folder in FOLDERS for source in sorted((PROTOS / folder).glob("*.proto"))]
    services = [source for source in sources if "\nservice " in source.read_text()]
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder) / "protoc-gen-purerpc"
        plugin.write_text(PLUGIN)
        plugin.chmod(0o755)
        compile_protos(sources, f"--python_out={target}", f"--pyi_out={target}")
        compile_protos(services, f"--plugin={plugin}", f"--purerpc_out={target}")
        descriptors = Path(folder) / "descriptors"
        compile_protos(services, f"--descriptor_set_out={descriptors}")
        for proto in FileDescriptorSet.FromString(descriptors.read_bytes()).file:
            (target / proto.name.replace(".proto", "_grpc.pyi")).write_text(types_of(proto))
        compile_protos(
            [FILES, GROUPS, SESSION, ARCHIVE], "--include_source_info", f"--descriptor_set_out={descriptors}"
        )
        files, groups, session, archive = FileDescriptorSet.FromString(descriptors.read_bytes()).file
    (target / ASYNCAPI).write_text(asyncapi.document(session, groups, files) + "\n")
    (target / PAGE_TYPES).parent.mkdir(exist_ok=True)
    (target / PAGE_TYPES).write_text(page_types.document([files, groups, session, archive]))
    (target / PAGE_KINDS).write_text(page_types.kinds(session))
    for file in generated(target, "*_grpc.py"):
        code = file.read_text().replace("import purerpc\n", "from rookery.purerpc_compat import purerpc\n", 1)
        file.write_text(code.rstrip() + "\n")


def types_of(file: FileDescriptorProto) -> str:
    """Type stubs of the service code that purerpc generates."""
    lines = [
        "from collections.abc import Awaitable, Callable",
        "from typing import Any",
        "",
        "import purerpc",
        "",
        f"from {file.name.replace('.proto', '_pb2').replace('/', '.')} import *",
    ]
    for service in file.service:
        lines += ["", f"class {service.name}Servicer(purerpc.Servicer):"]
        for method in service.method:
            if method.client_streaming or method.server_streaming:
                lines.append(f"    def {method.name}(self, stream: Any, /) -> Any: ...")
            else:
                # A handler returns the response, or a refusal, which nothing generated may import.
                request = short_name(method.input_type)
                lines.append(f"    async def {method.name}(self, request: {request}, /) -> Any: ...")
        lines += ["    @property", "    def service(self) -> purerpc.Service: ..."]
        lines += ["", f"class {service.name}Stub:", "    def __init__(self, channel: Any) -> None: ..."]
        for method in service.method:
            kind = "Callable[..., Any]"
            if not (method.client_streaming or method.server_streaming):
                kind = f"Callable[[{short_name(method.input_type)}], Awaitable[{short_name(method.output_type)}]]"
            lines.append(f"    {method.name}: {kind}")
    return "\n".join(lines) + "\n"


def compile_protos(sources: list[Path], *options: str) -> None:
    """Run protoc over the sources. Raises RuntimeError if it fails."""
    if protoc.main(["protoc", f"-I{PROTOS}", f"-I{STANDARD_PROTOS}", *options, *map(str, sources)]) != 0:
        raise RuntimeError("protoc refused the protos")


def stale() -> list[str]:
    """Names of committed files that differ from generated ones."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        names = {
            file.relative_to(root)
            for root in (fresh, ROOT)
            for pattern in ("*_pb2.py*", "*_grpc.py*", "asyncapi.json")
            for file in generated(root, pattern)
        }
        names |= {Path(PAGE_TYPES), Path(PAGE_KINDS)}
        return sorted(str(name) for name in names if read(fresh / name) != read(ROOT / name))


def generated(root: Path, pattern: str) -> list[Path]:
    """Generated files below `root`."""
    return [file for folder in FOLDERS for file in (root / folder).glob(pattern)]


def read(file: Path) -> str | None:
    """The file's text; None if there is no such file."""
    return file.read_text() if file.exists() else None


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if different := stale():
            sys.exit(f"not fresh, run `make protos`: {', '.join(different)}")
    else:
        generate(ROOT)
