"""The bundle: the same page as the modules, in few files that are the same each time."""

import json
import os
import re
from pathlib import Path

from bff.site import Site, Version, modules_of
from tools.page.bundle import LATER, SCRIPTS, WEB, bundle


def version(bundled: Path) -> Version:
    return Site(bundled).newest()


def test_two_bundles_of_a_page_are_identical(bundled: Path, tmp_path: Path) -> None:
    bundle(tmp_path / "again")
    assert version(tmp_path / "again").hash == version(bundled).hash


def test_the_sign_in_loads_four_scripts_and_the_chats_six(bundled: Path) -> None:
    files = version(bundled).files
    sign_in, chats = (modules_of(scripts, files) for scripts in (["main.js"], ["main.js", "app.js"]))
    assert (len(sign_in), len(chats)) == (4, 6)
    assert not [script for script in sign_in if b"rookery-chat-row" in files[script].content]
    loaded = set(modules_of(["main.js", "app.js", "components/chat-view.js"], files))
    for later in LATER:
        needed = set(modules_of([later], files)) - loaded
        assert len(needed) <= 3, f"{later} needs more than itself, the dialogs and a file that it shares: {needed}"


def test_every_file_that_a_page_or_the_service_worker_names_is_there(bundled: Path) -> None:
    files = version(bundled).files
    for path in ("index.html", "admin/index.html", "not-found.html"):
        text = files[path].content.decode()
        named = re.findall(r"/assets/[0-9a-f]{16}/([^\"]+)", text)
        assert set(named) <= files.keys()
        assert text.count('rel="stylesheet"') == 1
    (later,) = re.findall(r"LATER = `(.+?)`", files["sw.js"].content.decode())
    assert {*later.split(), *SCRIPTS, "tokens.css"} <= files.keys()
    loaded_later = {
        os.path.relpath(script.parent / path, WEB)
        for script in WEB.rglob("*.js")
        for path in re.findall(
            r'(?<!\{)\bimport\("([^"]+)"\)', re.sub(r"/\*.*?\*/", "", script.read_text(), flags=re.S)
        )
        if not script.is_relative_to(WEB / "admin")
    }
    assert loaded_later == {*SCRIPTS, *LATER} - {"main.js", "recover.js"}


def test_other_files_are_as_they_were_and_found_from_every_script(bundled: Path) -> None:
    others = [path for path in WEB.rglob("*") if path.suffix in (".png", ".svg", ".txt", ".webmanifest")]
    assert len(others) > 8
    for path in others:
        assert (bundled / path.relative_to(WEB)).read_bytes() == path.read_bytes()
    locating = [path for path in bundled.rglob("*.js") if "import.meta" in path.read_text()]
    assert {path.parent for path in locating} == {bundled}, "asset.js must stay in the page's folder"


def test_a_debugger_finds_the_modules_of_each_script_by_its_source_map(bundled: Path) -> None:
    for script in {*bundled.rglob("*.js"), *bundled.rglob("*.css")} - {bundled / "sw.js", bundled / "tokens.css"}:
        found = json.loads(script.with_name(f"{script.name}.map").read_text())
        assert f"sourceMappingURL={script.name}.map" in script.read_text()
        assert len(found["sources"]) == len(found["sourcesContent"])
        assert all(re.match(r"(\.\./)+web/", source) for source in found["sources"]), found["sources"]
