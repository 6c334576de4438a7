"""The documentation's settings: `make docs`. Its Python blocks are run by tests/test_docs.py."""

import sys
from pathlib import Path

import golib

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "golib"
release = version = golib.__version__
extensions = [
    "golib_reference",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_ext"]
html_theme = "furo"
html_title = f"golib {golib.__version__}"
html_copy_source = False
html_show_copyright = False
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
copybutton_exclude = ".linenos, .gp, .go"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
