"""Folder of HTML pages → an error if a link inside it leads nowhere, or an image has no text.

python docs/check_links.py docs/_build/html
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

ALONE = "explorer.html"  # an application of its own, which makes its links itself


class Page(HTMLParser):
    """Links, targets of links, and images without alternative text of a page."""

    def __init__(self, path):
        super().__init__()
        self.links = set()
        self.names = set()
        self.silent_images = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        """Note what a tag refers to, and by which names it can be referred to."""
        found = dict(attributes)
        self.names.update(found[key] for key in ("id", "name") if found.get(key))
        self.links.update(found[key] for key in ("href", "src") if found.get(key))
        is_beside_text = "_thumb." in (found.get("src") or "")  # in the gallery, above its title
        if tag == "img" and not found.get("alt") and not is_beside_text:
            self.silent_images.append(found.get("src"))


def main(folder):
    """Return what is wrong, one line per link or image."""
    paths = [path for path in sorted(folder.resolve().rglob("*.html")) if path.name != ALONE]
    paths = [path for path in paths if "_static" not in path.parts]  # templates
    pages = {path: Page(path) for path in paths}
    wrong = []
    for path, page in pages.items():
        wrong += [f"{path}: no alternative text of {image}" for image in page.silent_images]
        for link in sorted(page.links):
            address, fragment = urldefrag(link)
            address = address.split("?")[0]
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            target = (path.parent / unquote(address)).resolve() if address else path
            if not target.exists():
                wrong.append(f"{path}: no file {link}")
            elif fragment and target in pages and unquote(fragment) not in pages[target].names:
                wrong.append(f"{path}: no target {link}")
    return wrong


if __name__ == "__main__":
    sys.exit("\n".join(main(Path(sys.argv[1]))) or None)
