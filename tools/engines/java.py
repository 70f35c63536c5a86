"""Engines that are jars from Maven Central, named by the pom.xml in the folder of the engine's name."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from string import Template
from typing import ClassVar

from tools.engines.engine import Engine
from tools.engines.install import cache_folder, copy_jars, install_lock, need_java

FILES = Path(__file__).with_name("files")


class JavaEngine(Engine):
    """Its folder in `files/` has its pom.xml, its JVM options, and its configuration as a template."""

    agent: ClassVar[str] = ""
    """Prefix of the name of its JVM agent's jar."""

    @classmethod
    def source(cls) -> Path:
        return FILES / cls.name

    @classmethod
    def installed(cls) -> Path:
        """Its installation folder, named by a hash of its source."""
        files = sorted(cls.source().iterdir())
        digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
        return cache_folder() / f"{cls.name}-{digest[:12]}"

    @classmethod
    def class_archive(cls) -> Path:
        """Archive of its parsed classes, for a fast start. Created last: if it exists, the engine is installed."""
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
        """Finish the installation, after the jars are copied."""

    @classmethod
    def java(cls, *arguments: object) -> list[str]:
        jars = sorted(map(str, (cls.installed() / "lib").glob("*.jar")))
        return ["java", f"@{cls.source() / 'jvm.options'}", "-cp", ":".join(jars), *map(str, arguments)]

    @classmethod
    def server(cls, *arguments: object) -> list[str]:
        archive = cls.class_archive()
        if not archive.exists():  # this start creates it, without an agent: a JVM with one archives no classes
            return cls.java(f"-XX:ArchiveClassesAtExit={archive}", "-Xlog:cds=off", *arguments)
        agents = [f"-javaagent:{jar}" for jar in (cls.installed() / "lib").glob(f"{cls.agent}*.jar") if cls.agent]
        return cls.java(f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", *agents, *arguments)

    @classmethod
    def render(cls, name: str, **values: object) -> str:
        """Content of a template of its source, with the values substituted."""
        return Template((cls.source() / name).read_text()).substitute(values)

    @classmethod
    def _archive_classes(cls) -> None:
        """Start and stop once: the JVM writes the class archive as it ends."""
        with tempfile.TemporaryDirectory() as folder:
            once = cls(Path(folder) / cls.name)
            try:
                once.start()
            finally:
                once.stop()
