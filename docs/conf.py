"""Sphinx configuration: MyST pages, Google docstrings, every reference checked."""

from __future__ import annotations

import os
from importlib import metadata

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

project = "mlpkit"
author = "The mlpkit developers"
copyright = "2026, The mlpkit developers"  # noqa: A001 - Sphinx's name
release = metadata.version("mlpkit")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"mlpkit {release}"
html_static_path = ["_static"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape"]
napoleon_use_ivar = True

# Links into Python's, torch's and NumPy's pages need the network; a build without it is complete
# but for them.
if os.environ.get("MLPKIT_DOCS_ONLINE"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
    }
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|torchvision|numpy|np|npt|nn|PIL|pandas|matplotlib|sklearn|tqdm)(\..*)?"),
    (r"py:.*", r"(collections|pathlib|typing|os|enum|types|dataclasses|abc|fractions)\..*"),
    (r"py:.*", r"(Tensor|Path|Sequence|Iterator|Iterable|Mapping|Callable|Literal|optional)"),
    (r"py:.*", r"(Image|Optimizer|DataFrame|Figure)"),  # of Pillow, torch, pandas and matplotlib
    # aliases of types: the annotations show them, the arguments' text says what they hold
    (
        r"py:.*",
        r"(Activation|ActivationName|Appearance|NormName|InitName|OptimizerFactory|JSONValue)",
    ),
    (r"py:(class|exc)", r"[A-Z]?[A-Za-z]*(Error|Exception|KeyboardInterrupt)"),
    (r"py:class", r"(None|bool|int|float|str|bytes|list|tuple|dict|set|type|object)"),
    (r"py:.*", r"mlpkit\.(\w+\.)*_\w+\.[A-Z_].*"),  # type variables and aliases of private files
]


def resolve_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Lead `mlpkit.nn._mlp.MLP`, where the class lives, to `mlpkit.nn.MLP`, where it is shown."""
    parts = str(node.get("reftarget", "")).split(".")
    if node.get("refdomain") != "py" or parts[0] != "mlpkit":
        return None
    public = ".".join(part for part in parts if not part.startswith("_"))
    domain = env.get_domain("py")
    for kind in ("class", "obj", "exc", "func", "meth", "attr", "data"):
        found = domain.resolve_xref(env, node["refdoc"], app.builder, kind, public, node, content)
        if found is not None:
            return found
    return None


def setup(app: Sphinx) -> None:
    """Register the resolver of public names."""
    app.connect("missing-reference", resolve_public_name)
