"""Display every figure as SVG, from which the pages make a dark version."""

c = get_config()  # noqa: F821 - defined by IPython
c.InlineBackend.figure_formats = {"svg"}
