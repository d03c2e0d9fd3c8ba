"""Settings of sphinx; also prepares the pages that are made from other files."""

import re
import warnings
from pathlib import Path

from skmind import __version__

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"

project = "skmind"
author = "The skmind developers"
copyright = f"2026, {author}"
release = version = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "auto_examples/*.ipynb", "auto_examples/*.py"]
templates_path = ["_templates"]
default_role = "obj"

autosummary_generate = True
autosummary_context = {
    # methods of scikit-learn that its own pages describe
    "inherited": (
        "fit_transform get_feature_names_out get_metadata_routing get_params set_callbacks "
        "set_fit_request set_output set_params set_partial_fit_request set_predict_request "
        "set_score_request set_transform_request with_traceback add_note"
    ).split()
}
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # the docstrings say more
numpydoc_show_class_members = False
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_", "__repr__"),
    "download_all_examples": False,
    "image_srcset": ["2x"],
    "matplotlib_animations": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "within_subsection_order": "FileNameSortKey",
}

html_theme = "pydata_sphinx_theme"
html_title = "skmind"
html_static_path = ["_static"]
html_css_files = ["skmind.css"]
html_extra_path = ["_extra"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "skmind"},
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "getting_started": [], "faq": [], "glossary": [], "changelog": []}


def copy_results(app):
    """Copy the tables of benchmarks/results into the site, as pages."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    for source in sorted(RESULTS.glob("*.md")):
        text = source.read_text(encoding="utf-8")
        page = folder / source.name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def link_results(app, docname, source):
    """Let links to benchmarks/results, which work in the repository too, lead to these pages."""
    up = "../" * docname.count("/")
    source[0] = re.sub(r"\]\((\.\./)+benchmarks/results/(\w+\.md)", rf"]({up}results/\2", source[0])


def make_extra(app, config):
    """Create the folder of the explorer's page before sphinx looks for it."""
    (HERE / "_extra").mkdir(exist_ok=True)


def write_explorer(app):
    """Write the page of the explorer for generated data."""
    page = HERE / "_extra" / "explorer.html"
    if page.exists():
        return
    from skmind import MINDRecommender
    from skmind.datasets import make_interactions

    data = make_interactions(300, 200, n_topics=12, random_state=0)
    rec = MINDRecommender(random_state=0).fit(data.interactions)
    rec.explore(page, titles=data.item_table)


def setup(app):
    warnings.filterwarnings("ignore", message=".*agg.*", category=UserWarning)
    app.connect("config-inited", make_extra)
    app.connect("builder-inited", copy_results)
    app.connect("builder-inited", write_explorer)
    app.connect("source-read", link_results)
