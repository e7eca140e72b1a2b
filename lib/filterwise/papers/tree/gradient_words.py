"""What chapter 2's tables of gradient terms show, as sentences that follow the numbers."""

from __future__ import annotations

import pandas as pd

from filterwise.papers.tree.figures import cost_table
from filterwise.papers.tree.quantities import layers_of


def said_of_zeros(table: pd.DataFrame, network: str) -> str:
    """How many terms of a network are exactly 0 before and after training, its lowest layer first.

    Parameters
    ----------
    table : records or a page's rows; columns ``zero_share@``, ``zero_share_untrained@``, ``epochs``.
    """
    runs = table[table["network"] == network]
    layer = layers_of(runs)[0]
    before, after = (runs[f"{name}@{layer}"].mean() for name in ("zero_share_untrained", "zero_share"))
    way = "rises" if after > before else "falls"
    return (
        f"{network} after {runs['epochs'].iloc[0]:g} epochs: the share of zero terms in the lowest layer "
        f"{way} from {before:.2f} to {after:.2f}; bars end at one standard deviation over images."
    )


def said_of_layers(table: pd.DataFrame) -> str:
    """Shares of zero terms after training, the convolutions of every network of a
    :func:`filterwise.papers.tree.figures.zero_table`.

    >>> rows = {("tree3", "convolution"): 0.96, ("lenet5", "conv 1"): 0.88, ("lenet5", "fc 1"): 0.5}
    >>> said_of_layers(pd.DataFrame({"after": rows}).rename_axis(["network", "layer"]))
    'Zero terms of convolutions after training: 0.96 in tree3, 0.88 in lenet5.'
    """
    lowest = table[table.index.get_level_values("layer").str.startswith("conv")]["after"]
    said = [
        f"{' and '.join(f'{share:.2f}' for share in own)} in {network}"
        for network, own in lowest.groupby(level="network", sort=False)
    ]
    return f"Zero terms of convolutions after training: {', '.join(said)}."


def said_of_colours(table: pd.DataFrame) -> str:
    """How far apart the colours' shares of zero terms lie, layer by layer.

    Parameters
    ----------
    table : see :func:`filterwise.papers.tree.figures.colour_table`.
    """
    said = []
    for layer, own in table["share of zeros"].groupby(level="layer", sort=False):
        shares = own.droplevel("layer").sort_values()
        most, least = shares.index[-1], shares.index[0]
        apart = shares.iloc[-1] - shares.iloc[0]
        said.append(f"in the {layer} by {apart:.3f} (most in {most}, fewest in {least})")
    return f"The colours differ {', '.join(said)}."


def said_of_costs(records: pd.DataFrame, beside: str = "lenet5") -> str:
    """Terms that are not 0, all layers together, of every tree over those of ``beside``, from the records of
    :func:`filterwise.papers.tree.figures.cost_table`."""
    table = cost_table(records)
    if beside not in table.index:
        return "Terms of the gradient for one image."
    terms = table["not 0, all layers"].astype(float).to_dict()
    trees = {name: value for name, value in terms.items() if str(name).startswith("tree3")}
    said = [f"{name} {value / terms[beside]:.1f}" for name, value in trees.items()]
    return f"Terms that are not 0, over those of {beside}: {', '.join(said)}."
