"""The site: these pages and the reference of public names. `make docs` builds it into build/site."""

from __future__ import annotations

import graphsparse

project = "graphsparse"
author = "The graphsparse developers"
copyright = f"2026, {author}"
release = version = graphsparse.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"graphsparse {release}"
exclude_patterns = ["README.md"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]

default_role = "py:obj"
autodoc_typehints = "none"  # signatures show them; descriptions say what they mean
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
python_display_short_literal_types = True
python_maximum_signature_line_length = 90
napoleon_numpy_docstring = False
napoleon_use_rtype = False
