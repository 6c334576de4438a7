"""The documentation's settings: `make docs`. Its Python blocks are run by tests/test_docs.py."""

project = "golib"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "golib"
html_copy_source = False
html_show_copyright = False
myst_heading_anchors = 3
nitpicky = True
