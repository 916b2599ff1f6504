"""The settings of Sphinx, which builds the site from these pages, the docstrings and the notebooks: make docs."""

from pathlib import Path
import shutil
import sys

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
shutil.copytree(HERE.parent / "notebooks", HERE / "notebooks", dirs_exist_ok=True)  # Sphinx reads only this folder

project = "feedforward"
author = "the maintainers of feedforward"
extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]
nitpicky = True  # a reference to a name that has no page is a warning
default_role = "py:obj"  # `name` in a docstring is a link if the name has a page,
nitpick_ignore_regex = [("py:obj", ".*")]  # and otherwise code

autodoc_typehints = "none"  # the docstrings say the types
autodoc_inherit_docstrings = False
numpydoc_show_class_members = False  # the template of classes lists them
nb_execution_mode = "off"  # the notebooks have their outputs; make notebooks runs them
myst_heading_anchors = 4
linkcheck_timeout = 20

html_theme = "furo"
html_title = "feedforward"
html_copy_source = False
html_show_sphinx = False
