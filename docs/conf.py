"""The settings of Sphinx, which builds the site from these pages, the docstrings and the notebooks: make docs."""

import inspect
from pathlib import Path
import shutil
import sys

from docutils import nodes
from latex2mathml.converter import convert

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
smartquotes = False  # texts in docstrings are code
nb_execution_mode = "off"  # the notebooks have their outputs; make notebooks runs them
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
linkcheck_timeout = 20

html_theme = "furo"
html_title = "feedforward"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_math_renderer = "mathml"
highlight_language = "none"  # blocks without a language are formulas


def signature_of_fields(app, what, name, obj, options, signature, returns):
    """Return the fields of a class as its signature; autodoc finds that of __new__, which takes any arguments."""
    if signature == "(*values, **named)":
        parameters = inspect.signature(obj).parameters.values()
        signature = str(inspect.Signature([each.replace(annotation=each.empty) for each in parameters]))
    return signature, returns


def write_formula(writer, node):
    """Write a formula in MathML, which browsers show without a program from another site."""
    block = isinstance(node, nodes.math_block)
    writer.body.append(convert(node.astext(), display="block" if block else "inline"))
    raise nodes.SkipNode


def setup(app):
    """Connect this file to Sphinx."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("autodoc-process-signature", signature_of_fields)
