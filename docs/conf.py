from skmind import __version__

project = "skmind"
author = "The skmind developers"
copyright = f"2026, {author}"
release = version = __version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.xref_missing"]  # README.md links to files that are not pages

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say more
numpydoc_show_class_members = False
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = f"skmind {release}"


def skip_member(app, what, name, obj, skip, options):
    """Leave out scikit-learn's generated set_{method}_request; they refer to its own pages."""
    if name.startswith("set_") and name.endswith("_request"):
        return True
    return None


def setup(app):
    app.connect("autodoc-skip-member", skip_member)
