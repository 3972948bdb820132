"""The site that `make docs` builds with Sphinx from the texts and the docstrings.

Its source folder is the repository, so a link between two texts is the same there and here.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import docstrings  # noqa: E402
import reference  # noqa: E402

project = "midframe"
project_copyright = "The midframe developers"
html_title = project
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/reference/*.rst", "conf/README.md"]
# folders of the repository that hold no page: not even looked into
exclude_patterns = [".*", "[!cd]*/**", "data/**"]
templates_path = ["templates"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False
default_role = "literal"  # what stands in single backticks

html_theme = "furo"
html_static_path = ["static/site.css"]  # its folder would be left out as above
html_css_files = ["site.css"]
html_additional_pages = {"index": "index.html"}  # leads to README.html
html_show_sphinx = False
html_copy_source = False

NAVIGATION = {
    "To read": (
        *("docs/quick", "docs/distillation", "docs/stmfnet", "docs/compression", "docs/events"),
        *("docs/tracking", "docs/sweeps", "docs/clusters"),
        *("docs/video", "docs/serve", "docs/export"),
        *("docs/metrics", "docs/results", "docs/benchmarks", "conf/README"),
        *("docs/licences", "CHANGELOG"),
    ),
    "To add to it": (
        *("docs/add-a-model", "docs/add-a-data-layout", "docs/add-a-loss"),
        *("docs/add-a-benchmark", "docs/design", "CONTRIBUTING"),
    ),
    "To look up": ("docs/reference/midframe",),
}


def add_navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Give the first page the table of contents, which means nothing outside of the site."""
    if name != root_doc:
        return
    listed = {page for pages in NAVIGATION.values() for page in pages}
    others = {page for page in app.env.found_docs if page.startswith("docs/")} - listed
    more = sorted(page for page in others if not page.startswith("docs/reference/"))
    for caption, pages in {**NAVIGATION, "More": more}.items():
        if pages:
            lines = ["", "", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```"]
            source[0] += "\n".join(lines)


def setup(app: Sphinx) -> None:
    """Connect what is our own to the build."""
    app.connect("config-inited", lambda *_: reference.write())
    app.connect("source-read", add_navigation)
    app.connect("autodoc-process-docstring", docstrings.plain, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", docstrings.signature)
    app.connect("autodoc-skip-member", docstrings.skipped)
