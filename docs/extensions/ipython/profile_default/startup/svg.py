"""Display every figure as SVG, from which the pages make a dark version."""

import matplotlib.figure
from IPython import get_ipython
from IPython.core.pylabtools import select_figure_formats

shell = get_ipython()
select_figure_formats(shell, {"svg"})
shell.display_formatter.formatters["image/png"].for_type(matplotlib.figure.Figure, lambda _: None)
