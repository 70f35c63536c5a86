"""Draw the icons of the installed page from `web/icon.svg`, with Chromium: `python -m tools.icons`.

The results are committed. Run it again after a change of the icon.
"""

import os
from pathlib import Path

from playwright.sync_api import sync_playwright

WEB = Path(__file__).resolve().parent.parent / "web"

ICONS = {"192": (192, 0.84, ""), "512": (512, 0.84, ""), "maskable": (512, 0.6, "#fbfaf7")}
"""By name: the size in pixels, the share of the size that the drawing fills, and the background, empty for none. A
system may cut a maskable icon to a circle of four fifths of its size."""


def main() -> None:
    drawing = (WEB / "icon.svg").read_text()
    (WEB / "icons").mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        for name, (size, share, ground) in ICONS.items():
            page = browser.new_page(viewport={"width": size, "height": size})
            style = f"margin: 0; height: 100vh; display: grid; place-items: center; background: {ground}"
            page.set_content(f'<body style="{style}">{drawing}')
            page.locator("svg").evaluate("(svg, width) => svg.setAttribute('width', width)", size * share)
            page.screenshot(path=WEB / "icons" / f"{name}.png", omit_background=True)
        browser.close()


if __name__ == "__main__":
    main()
