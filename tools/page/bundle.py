"""Bundles the page for a release: some twenty minified files in place of its modules and styles, in the same folders.

    python -m tools.page.bundle FOLDER

The folder must be new. esbuild makes the bundle; `npm ci` installs it. `bff/site.py` serves either form, and does not
know which. Each script has a source map, so that a debugger shows the modules of `web/`.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

WEB = ROOT / "web"

ESBUILD = ROOT / "node_modules/.bin/esbuild"

SCRIPTS = (
    *("main.js", "app.js", "recover.js", "languages/ar.js", "languages/de.js"),
    *("languages/dialogs/ar.js", "languages/dialogs/de.js", "languages/files/ar.js", "languages/files/de.js"),
)
"""Scripts of the chats that keep their names, since a page or the service worker names them."""

WITH_APP, WITH_CHAT, WITH_DIALOGS, WITH_PEOPLE, WITH_UPLOADS, WITH_FILES = (
    'import "../app.js";\n',
    'import "../components/chat-view.js"; import "../files/kinds.js"; import "../files/plain-text.js"; '
    'import "../languages/files.js";\n',
    'import "./modal.js"; import "../languages/dialogs.js"; import "./confirmation.js"; import "./outcome.js"; '
    'import "./loaded.js"; import "../stores/people.js";\n',
    'import "./chat-picker.js"; import "./group-members.js"; import "./picture-editor.js";\n',
    'import "../components/attachments.js"; import "../files/uploads.js";\n',
    'import "./message-files.js"; import "./text-file.js"; import "./viewer.js";\n',
)
"""Imports of modules that are in the browser by the time that a later script needs them, or that most of these need.
If all of them have the import, the modules share a file. Else each set of modules that some scripts share would be a
file of its own."""

LATER = {
    f"components/{name}.js": WITH_APP + shared
    for shared, names in {
        "": ("start",),
        WITH_CHAT: ("chat-view", "completion"),
        WITH_CHAT + WITH_UPLOADS: ("attachments", "voice"),
        WITH_CHAT + WITH_FILES: ("message-files", "text-file", "viewer"),
        WITH_DIALOGS: (
            *("chat-notifications", "date-dialog", "delete-dialog", "emoji-picker", "invite"),
            *("people-notice", "read-all", "refused-change", "settings"),
        ),
        WITH_DIALOGS + WITH_PEOPLE: ("group-dialogs", "profile-dialogs"),
        WITH_DIALOGS + WITH_CHAT: ("edits-dialog", "listed-dialog"),
        WITH_DIALOGS + WITH_CHAT + WITH_PEOPLE: ("forward-dialog",),
        WITH_DIALOGS + WITH_CHAT + WITH_FILES: ("files-dialog", "text-viewer"),
    }.items()
    for name in names
} | {
    "files/server.js": WITH_APP,
    "files/uploads.js": WITH_APP + WITH_CHAT + WITH_UPLOADS,
    "sound.js": "",
    "stores/channel-members.js": WITH_APP,
    "stores/channels.js": WITH_APP,
    "stores/refused-mentions.js": "",
    "stores/replaced-sign-in.js": WITH_APP,
}
"""Further ones, which the chats load when they are first needed, with the imports by which they share files."""

LATER_STYLES = ("styles/attachments.css", "styles/chat.css", "styles/files.css")
"""Stylesheets that scripts load when they are first needed."""

ADMIN_SCRIPTS = ("admin/main.js",)
"""Bundled on their own: a file for the modules that both pages use would be one more request for the chats."""

UNCHANGED = ("sw.js", "tokens.css")
"""A script and a stylesheet that are not bundled: the service worker loads nothing, and `/docs` has a stylesheet of its
own after the tokens."""

_STYLESHEETS = re.compile(r'(?:<link rel="stylesheet" href="\{\{assets\}\}/[^"]+">\n)+')

_ADDRESS = re.compile(r'\{\{assets\}\}/([^"]+)')


def bundle(into: Path) -> None:
    """Write the bundle into a new folder. The same page always gives the same bytes.

    Raises CalledProcessError if esbuild fails; its output is on stderr.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy = folder / "web"
        shutil.copytree(WEB, copy)
        for later, imports in LATER.items():
            with (copy / later).open("a") as script:
                script.write(imports)
        styles = [_join_styles(copy, page) for page in sorted(copy.rglob("*.html"))]
        _run_esbuild(folder, [*SCRIPTS, *LATER, *LATER_STYLES, *styles])
        _run_esbuild(folder, ADMIN_SCRIPTS, chunks="admin/")
        for file in copy.rglob("*"):
            path = file.relative_to(copy)
            if file.is_file() and (file.suffix not in (".js", ".css") or str(path) in UNCHANGED):
                target = folder / "page" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
        shutil.copytree(folder / "page", into)


def _join_styles(web: Path, page: Path) -> str:
    """Replace the stylesheets of a page by one that imports them; return its path."""
    joined = page.with_suffix(".css").relative_to(web)
    text = page.read_text()
    found = _STYLESHEETS.search(text)
    assert found is not None, f"{page} has no stylesheet"
    up = "../" * (len(joined.parts) - 1) or "./"
    imports = [f'@import "{up}{path}";\n' for path in _ADDRESS.findall(found[0])]
    (web / joined).write_text("".join(imports))
    page.write_text(text.replace(found[0], f'<link rel="stylesheet" href="{{{{assets}}}}/{joined}">\n'))
    return str(joined)


def _run_esbuild(folder: Path, entries: Sequence[str], *, chunks: str = "") -> None:
    """Bundle files of `web/` in this folder into `page/`; modules that several files need get a file in `chunks`."""
    options = ["--bundle", "--splitting", "--format=esm", "--minify", "--charset=utf8", "--sourcemap"]
    paths = ["--outbase=web", "--outdir=page", f"--chunk-names={chunks}[name]-[hash]", "--log-level=warning"]
    subprocess.run([ESBUILD, *(f"web/{entry}" for entry in entries), *options, *paths], cwd=folder, check=True)


if __name__ == "__main__":
    bundle(Path(sys.argv[1]))
