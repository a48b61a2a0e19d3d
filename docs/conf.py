"""Sphinx configuration: MyST pages, Google docstrings, every reference checked."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

project = "mlpkit"
author = "The mlpkit developers"
copyright = "2026, The mlpkit developers"  # noqa: A001 - Sphinx's name
release = metadata.version("mlpkit")

sys.path.append(str(Path(__file__).parent / "extensions"))
extensions = [
    "annotations",
    "command_options",
    "dark_figures",
    "mathml",
    "myst_nb",
    "plot_pictures",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
autosummary_imported_members = True
html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"mlpkit {release}"
html_static_path = ["_static"]
html_css_files = ["mlpkit.css"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# A page that is a notebook is executed if it changed. `nox -s docs` executes all of them.
nb_execution_mode = "cache"
nb_execution_in_temp = True  # a page that saves a model leaves no file in the repository
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_show_tb = True
nb_execution_in_temp = True
nb_merge_streams = True
os.environ["IPYTHONDIR"] = str(Path(__file__).parent / "extensions" / "ipython")
os.environ["MATPLOTLIBRC"] = str(Path(__file__).parent / "extensions" / "matplotlibrc")
os.environ["MLPKIT_DOCS"] = str(Path(__file__).parent)  # the page of results reads files
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_class_signature = "mixed"
python_display_short_literal_types = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape"]
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the extension `annotations` adds them

# Links to the documentation of Python, torch and others need the network. A build without network
# lacks only these links.
if os.environ.get("MLPKIT_DOCS_ONLINE"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|torchvision|numpy|np|npt|nn|PIL|pandas|matplotlib|sklearn|tqdm)(\..*)?"),
    (r"py:.*", r"(collections|pathlib|typing|os|enum|types|dataclasses|abc|fractions)\..*"),
    (r"py:.*", r"datetime\..*"),
    (r"py:.*", r"(Tensor|Path|Sequence|Iterator|Iterable|Mapping|Callable|Literal|optional)"),
    (r"py:.*", r"(Image|Optimizer|DataFrame|Figure)"),  # of Pillow, torch, pandas and matplotlib
    # type aliases: the annotations show them, and the text of the arguments lists their values
    (
        r"py:.*",
        r"(_serialization\.)?"
        r"(Activation|ActivationName|Appearance|NormName|InitName|OptimizerFactory|JSONValue"
        r"|MetricLike|NumberEmbedding|ThresholdMode|ClassWeight|WandbMode|WandbRun|MLflowRun"
        r"|CategoryEncoding|NetworkPreset|Array|Floats)",
    ),
    (r"py:class", r"'\w+'"),  # the values of a literal
    (r"py:(class|exc)", r"[A-Z]?[A-Za-z]*(Error|Exception|KeyboardInterrupt)"),
    (r"py:class", r"(None|bool|int|float|str|bytes|list|tuple|dict|set|type|object)"),
    (r"py:.*", r"mlpkit\.(\w+\.)*_\w+\.[A-Z_].*"),  # type variables and aliases of private files
]


# The packages of the reference that show the names re-exported by others.
PACKAGES = ("nn", "data", "training", "models")


def public_names(target: str) -> list[str]:
    """Return the names under which the reference may show an object, the likeliest first.

    `mlpkit.data.augment._compose.Compose` is shown as `mlpkit.data.Compose`, and
    `mlpkit.SoftmaxClassifier` as `mlpkit.models.SoftmaxClassifier`.
    """
    root, *parts = [part for part in target.split(".") if not part.startswith("_")]
    first = next((i for i, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
    package, name = parts[:first], parts[max(first, 0) :]
    packages = [package, package[:1]] if package else [[other] for other in PACKAGES]
    return [".".join([root, *each, *name]) for each in packages]


def resolve_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Resolve a private or re-exported name to the public name in the reference."""
    target = str(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or not target.startswith("mlpkit."):
        return None
    domain = env.get_domain("py")
    for public in public_names(target):
        for kind in ("class", "obj", "exc", "func", "meth", "attr", "data"):
            found = domain.resolve_xref(
                env, node["refdoc"], app.builder, kind, public, node, content
            )
            if found is not None:
                return found
    return None


def spread_notebooks(_app: Sphinx, _env: BuildEnvironment, docnames: list[str]) -> None:
    """Order the pages so that `sphinx-build -j` executes the notebooks in all of its processes.

    Each process reads pages that are neighbors in the list, and the notebooks are in few folders.
    """
    docnames[:] = [name for start in range(8) for name in docnames[start::8]]


def setup(app: Sphinx) -> None:
    """Register the resolver of public names and the order of the pages."""
    app.connect("missing-reference", resolve_public_name)
    app.connect("env-before-read-docs", spread_notebooks)
