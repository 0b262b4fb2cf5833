"""Sphinx's settings: `bash deploy/docs.sh` builds the site, offline and without a warning."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

project = "Rookery"
author = "The Rookery authors"
release = version = installed("rookery")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docs.reference"]
myst_enable_extensions = ["attrs_inline", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
nitpick_ignore_regex = [
    ("py:.*", "(?!rookery).*")
]  # what others define has its page elsewhere, and the build asks nobody

html_theme = "furo"
html_title = "Rookery"
html_static_path = ["_static"]
html_css_files = ["rookery.css"]
html_copy_source = False
html_show_sphinx = html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
