"""Summary: its rows, and its text."""

from __future__ import annotations

from torch import nn

from mlpkit.nn import MLP, Activation, ActivationConfig, SummaryRow


def test_rows_are_the_layers() -> None:
    """Output widths after the activation, and the number of parameters of each layer."""
    activations: list[Activation] = [ActivationConfig("maxout", num_pieces=3), "prelu"]
    model = MLP(6, (4, 3), 2, activation=activations, norm="layer", output_activation=nn.PReLU())
    rows = model.summary().rows
    assert [row.name for row in rows] == ["layers.0", "layers.1", "head"]
    assert [row.output_features for row in rows] == [4, 3, 2]
    by_hand = [7 * 12 + 2 * 12, 5 * 3 + 2 * 3 + 1, 4 * 2 + 1]
    assert [row.num_parameters for row in rows] == by_hand
    assert model.summary().num_parameters == model.num_parameters == sum(by_hand)
    assert rows[0].operations == "Linear(6, 12) -> LayerNorm -> Maxout(num_pieces=3)"


def test_a_linear_model_has_one_row() -> None:
    """The head, with the dropout before it."""
    rows = MLP(6, (), 2, input_dropout=0.2, bias=False).summary().rows
    operations = "Dropout(0.2) -> Linear(6, 2, bias=False)"
    assert rows == (
        SummaryRow(name="head", operations=operations, output_features=2, num_parameters=12),
    )


def test_a_backbone_has_no_head() -> None:
    """Without hidden layers the summary is empty."""
    assert [row.name for row in MLP(6, (5,), None).summary().rows] == ["layers.0"]
    assert MLP(6, (), None).summary().rows == ()


def test_text_is_a_table_with_thousands_separators() -> None:
    """Names are left-aligned, numbers are right-aligned, and the last line is the total."""
    assert str(MLP(784, (1200,), 10).summary()).splitlines() == [
        "layer     operations                   output  parameters",
        "layers.0  Linear(784, 1200) -> ReLU()   1,200     942,000",
        "head      Linear(1200, 10)                 10      12,010",
        "total                                             954,010",
    ]


def test_notebooks_show_the_same_table() -> None:
    summary = MLP(784, (1200,), 10).summary()
    html = summary._repr_html_()
    assert html.count("<tr>") == 4
    assert "Linear(784, 1200) -&gt; ReLU()</td><td>1,200</td><td>942,000</td>" in html
    assert html.endswith("<td></td><td>954,010</td></tr></tbody></table>")
