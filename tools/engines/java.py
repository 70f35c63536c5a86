"""Servers made of jars from Maven Central: those of the pom.xml in the folder of their name."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from string import Template
from typing import ClassVar

from tools.engines.engine import Backend
from tools.engines.install import cache_folder, copy_jars, install_lock, need_java

FILES = Path(__file__).with_name("files")


class JavaBackend(Backend):
    """Its folder in `files/` has its pom.xml, the options of its JVM, and its configuration with blanks in it."""

    agent: ClassVar[str] = ""
    """How the name of the jar begins that its JVM runs as an agent."""

    @classmethod
    def source(cls) -> Path:
        return FILES / cls.name

    @classmethod
    def installed(cls) -> Path:
        """Where it is installed: another folder after each change to its source."""
        files = sorted(cls.source().iterdir())
        digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
        return cache_folder() / f"{cls.name}-{digest[:12]}"

    @classmethod
    def class_archive(cls) -> Path:
        """Its parsed classes, which make a start fast. Made last: once it is there, the server is installed."""
        return cls.installed() / "classes.jsa"

    @classmethod
    def install(cls) -> None:
        need_java()
        if cls.class_archive().exists():
            return
        with install_lock():
            if not cls.class_archive().exists():
                shutil.rmtree(cls.installed(), ignore_errors=True)
                copy_jars(cls.source() / "pom.xml", cls.installed() / "lib")
                cls.prepare()
                cls._archive_classes()

    @classmethod
    def prepare(cls) -> None:
        """Do what else is needed once, when the jars are there."""

    @classmethod
    def java(cls, *arguments: object) -> list[str]:
        jars = sorted(map(str, (cls.installed() / "lib").glob("*.jar")))
        return ["java", f"@{cls.source() / 'jvm.options'}", "-cp", ":".join(jars), *map(str, arguments)]

    @classmethod
    def server(cls, *arguments: object) -> list[str]:
        archive = cls.class_archive()
        if not archive.exists():  # this start makes it; a JVM archives no classes under an agent
            return cls.java(f"-XX:ArchiveClassesAtExit={archive}", "-Xlog:cds=off", *arguments)
        agents = [f"-javaagent:{jar}" for jar in (cls.installed() / "lib").glob(f"{cls.agent}*.jar") if cls.agent]
        return cls.java(f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", *agents, *arguments)

    @classmethod
    def fill_in(cls, name: str, **values: object) -> str:
        """A file of its source, with its blanks filled in."""
        return Template((cls.source() / name).read_text()).substitute(values)

    @classmethod
    def _archive_classes(cls) -> None:
        """Start and stop once; the JVM leaves its parsed classes behind as it ends."""
        with tempfile.TemporaryDirectory() as folder:
            once = cls(Path(folder) / cls.name)
            try:
                once.start()
            finally:
                once.stop()
