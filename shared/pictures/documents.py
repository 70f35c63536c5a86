"""Renders the first page of a PDF. It runs in the worker's process only, which imports it before it gives up files."""

import pypdfium2

from shared.pictures.rendering import Rendered, saved, within

MEDIA_TYPE = "application/pdf"

EDGES = (320, 800)
"""The longer edges of the thumbnails, in pixels: enough to recognise a document, and to read its headings."""


def render_first_page(content: bytes) -> Rendered:
    """Return thumbnails of the first page. Any exception means that the document can't be shown: it may have a
    password."""
    page = pypdfium2.PdfDocument(content)[0]
    shown = page.render(scale=max(EDGES) / max(page.get_size())).to_pil().convert("RGB")
    thumbnails = {edge: saved(within(shown, edge), "WEBP", quality=80, method=2) for edge in EDGES}
    return Rendered(MEDIA_TYPE, 0, 0, b"", thumbnails, None)
