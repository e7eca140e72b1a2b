"""The head explorer: an attention head's label matrix beside that of a random group of the same nodes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import torch
from torch import Tensor

from filterwise.errors import ParameterError, check_choice
from filterwise.figures.book_figure import BookFigure, drawn, panels
from filterwise.figures.matrices import SHOWN, draw_matrix, kinds_legend
from filterwise.figures.tables import counted
from filterwise.figures.twin import Twin, page_html, show
from filterwise.measure.clustering import clusters, noise
from filterwise.measure.fields import clip, label_fields
from filterwise.measure.head_groups import own_groups, random_groups
from filterwise.measure.head_training import generator_for
from filterwise.measure.token_heads import Reading

#: The largest size of a class mean, and of a weight, as a 16 bit integer.
LEVELS = 2**15 - 1
#: Ends of the threshold's slider, in hundredths.
LEAST, MOST = 10, 90
#: Heads that are drawn in a row, and labels that are named under a panel.
COLUMNS, NAMED = 6, 6


@dataclass(frozen=True, eq=False)
class HeadView:
    """Class means and weights of the nodes of some encoders, in which the explorer looks.

    They are whole numbers up to ``LEVELS``, so that a page without a kernel computes the very same matrices.
    With n nodes in a group an entry is off by at most about n max|mu| max|W| / ``LEVELS``; of small trained
    networks, by less than 1e-4 of the matrix's largest, which turns about one entry in 200 000 around.

    Attributes
    ----------
    mu, weight : encoder number m -> mu and W at its heads, int16 (K, d), each a multiple of its largest size
    groups : "own" and "random" -> nodes of each head, and of each random group, int64 (H, n)
    names : K labels
    """

    mu: Mapping[int, Tensor]
    weight: Mapping[int, Tensor]
    groups: Mapping[str, Tensor]
    names: tuple[str, ...]

    def fields(self, encoder: int, head: int, side: str = "own") -> Tensor:
        """M_h[i, j] = sum over the nodes of the group of mu[i, k] W[j, k], up to a factor: float64 (K, K)

        Raises ParameterError: an encoder, head or side that is not there.
        """
        check_choice("side", side, self.groups)
        check_choice("encoder", encoder, self.mu)
        check_choice("head", head, range(len(self.groups[side])))
        nodes = self.groups[side][head]
        mu, weight = (each[encoder][:, nodes].double() for each in (self.mu, self.weight))
        return label_fields(mu[:, None], weight)[0]  # whole numbers below 2^53: exact in any order

    def says(self, encoder: int, head: int, threshold: float, side: str = "own") -> str:
        """Clusters, labels in them, noise, the first labels: one sentence."""
        B = clip(self.fields(encoder, head, side), threshold)
        found = clusters(B)
        inside = sorted(label for members in found for label in members)
        named = ", ".join(self.names[label] for label in inside[:NAMED])
        more = f" and {len(inside) - NAMED} more" if len(inside) > NAMED else ""
        return (
            f"{'Head' if side == 'own' else 'Random group'} {head} of encoder {encoder} at threshold "
            f"{threshold:.2f}: {counted(len(found), 'cluster')} with {counted(len(inside), 'label')}, noise "
            f"{noise(B, found).n:,}; stands for {named + more if inside else 'no label'}."
        )


def view_of(
    readings: Mapping[int, Reading], heads: int, label_names: Sequence[str] = (), seed: int = 0
) -> HeadView:
    """The view of what token heads read at the heads of some encoders.

    Parameters
    ----------
    readings
        Encoder number m -> reading at its place "qkv", all with the same K and d.
    heads
        H, how many heads share the d nodes.
    label_names
        K names; numbers when not given.
    seed
        Of the regrouping, one for all encoders: the one whose single-group accuracies a record of this seed
        keeps.

    Raises ParameterError: no reading, readings of different shapes or not finite, names that do not fit,
    heads that do not divide d, a seed that is no count.
    """
    if not readings:
        raise ParameterError("readings is empty; give at least one encoder's")
    shapes = {m: tuple(one.mu.shape) for m, one in readings.items()}
    if len({*shapes.values(), *(tuple(one.weight.shape) for one in readings.values())}) != 1:
        raise ParameterError(f"readings have class means of {shapes}; all must be of one (K, d), as W is")
    labels, d = next(iter(shapes.values()))
    names = tuple(str(name) for name in label_names) or tuple(map(str, range(labels)))
    if len(names) != labels:
        raise ParameterError(f"label_names has {len(names)} names for {labels} labels")
    groups = {
        "own": own_groups(d, heads),
        "random": random_groups(d, heads, generator_for(seed, "shown groups")),
    }
    known = sorted(readings)
    return HeadView(
        {m: _whole(f"mu of encoder {m}", readings[m].mu) for m in known},
        {m: _whole(f"W of encoder {m}", readings[m].weight) for m in known},
        groups,
        names,
    )


def _whole(name: str, values: Tensor) -> Tensor:
    """Multiples of the largest size / LEVELS, int16."""
    largest = values.abs().max().double()
    if not bool(torch.isfinite(largest)):
        raise ParameterError(f"{name} holds values that are not finite (NaN or infinity)")
    return (values.double() / (largest if largest > 0 else 1.0) * LEVELS).round().to(torch.int16)


@drawn
def head_and_group(
    view: HeadView, encoder: int, head: int, threshold: float, how: str = SHOWN[-1]
) -> BookFigure:
    """One head's matrix and, beside it, the random group's of the same number, in one of the ways ``SHOWN``.

    Raises ParameterError: an encoder, head or way that is not there, a threshold outside [0, 1).
    """
    figure, axes = panels(2, columns=2, height=3.6, phone=1)
    for ax, side, title in zip(axes, ("own", "random"), ("head", "random group"), strict=True):
        draw_matrix(ax, view.fields(encoder, head, side), threshold, how, view.names)
        ax.set(title=f"{title} {head}", xlabel="output label", ylabel="input label")
    if how != "fields":
        kinds_legend(figure)
    figure.alt = " ".join(view.says(encoder, head, threshold, side) for side in ("own", "random"))
    return figure


@drawn
def shown_heads(fields: Mapping[str, Tensor], threshold: float = 0.3) -> BookFigure:
    """Small matrices, clipped and each with its own clusters first: a row of heads, a row of random groups.

    Parameters
    ----------
    fields
        Name of a row, such as "head" and "random group" -> M (H, K, K), row = input label; the first six are
        drawn, with N_c and noise above each.
    threshold
        theta of the clipping.

    Raises ParameterError: no row, rows of different lengths, matrices that are not square or not finite, a
    threshold outside [0, 1).
    """
    # records keep half precision, in which a share of the largest entry is too coarse
    rows = {name: torch.as_tensor(M).float()[:COLUMNS] for name, M in fields.items()}
    shapes = {name: tuple(M.shape) for name, M in rows.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 3 or not shape[0] for shape in shapes.values()):
        raise ParameterError(f"fields has shapes {shapes}; at least one row, all of one (H, K, K), is needed")
    columns = next(iter(shapes.values()))[0]
    phone = columns // 2 if columns % 2 == 0 else 0  # heads and groups in rows of their own
    figure, axes = panels(len(rows) * columns, columns=columns, height=1.6, extra=0.35, phone=phone)
    said = []
    for at, (name, M) in enumerate(rows.items()):
        row = axes[at * columns : (at + 1) * columns]
        found = []
        for ax, one in zip(row, M, strict=True):
            draw_matrix(ax, one, threshold)
            ax.set(xticks=[], yticks=[])
            if ax.get_subplotspec().is_first_col():
                ax.set_ylabel(name, fontsize=9)
            B = clip(one, threshold)
            blocks = clusters(B)
            found.append((len(blocks), noise(B, blocks).n))
            ax.set_title(f"{counted(found[-1][0], 'cluster')}\nnoise {found[-1][1]:,}", fontsize=8)
        listed = ", ".join(f"{counted(count, 'cluster')} and noise {n:,}" for count, n in found)
        said.append(f"{name}: {listed}.")
    kinds_legend(figure)
    figure.alt = f"Label matrices clipped at {threshold:g}, clusters first. {' '.join(said)}"
    return figure


def explore_heads(view: HeadView, threshold: float = 0.3) -> Twin:
    """Sliders for encoder, head and threshold, a selector of how to show; a head beside a random group.

    In a notebook with a kernel the widgets call the library; elsewhere a twin computes the same matrices in
    the page from the class means and weights, by the same rule.

    The threshold starts at the one given, to a hundredth, and goes from 0.1 to 0.9, or as far as that one.

    Raises ParameterError: a threshold outside [0, 1).
    """
    if not 0 <= threshold < 1:
        raise ParameterError(f"threshold={threshold!r} is outside [0, 1)")
    return show(partial(_widgets, view, threshold), partial(twin_html, view, threshold))


def _slider(threshold: float) -> dict[str, int]:
    """Start and ends of the threshold's slider, in hundredths."""
    start = min(round(100 * threshold), 99)
    return {"threshold": start, "least": min(LEAST, start), "most": max(MOST, start)}


def twin_html(view: HeadView, threshold: float = 0.3) -> str:
    """The explorer as one piece of HTML: markup, style, script, 4 bytes a label and node of an encoder."""

    def text(values: Tensor) -> str:
        return base64.b64encode(values.numpy().astype("<i2").tobytes()).decode()

    content = {
        "names": view.names,
        **_slider(threshold),
        "start": len(view.mu) - 1,
        "ways": SHOWN,
        "encoders": [{"number": m, "mu": text(view.mu[m]), "W": text(view.weight[m])} for m in view.mu],
        "groups": {side: groups.tolist() for side, groups in view.groups.items()},
    }
    return page_html("heads", content, "filterwise.papers.vit_shp", matrices=True)


def _widgets(view: HeadView, threshold: float) -> Any:
    """The live form."""
    import ipywidgets as widgets

    known = list(view.mu)
    start, least, most = (value / 100 for value in _slider(threshold).values())
    encoder = widgets.SelectionSlider(
        options=known, value=known[-1], description="encoder", continuous_update=False
    )
    head = widgets.IntSlider(0, 0, len(view.groups["own"]) - 1, description="head", continuous_update=False)
    at = widgets.FloatSlider(
        start, min=least, max=most, step=0.01, description="threshold", continuous_update=False
    )
    how = widgets.Dropdown(options=SHOWN, value=SHOWN[-1], description="show")
    picture, caption = widgets.HTML(), widgets.HTML()

    def draw(_: object = None) -> None:
        theta = round(at.value, 2)  # the very number of the page without a kernel
        picture.value = head_and_group(view, encoder.value, head.value, theta, how.value).html()
        said = (view.says(encoder.value, head.value, theta, side) for side in ("own", "random"))
        caption.value = "<br>".join(map(escape, said))

    for control in (encoder, head, at, how):
        control.observe(draw, "value")
    draw()
    return widgets.VBox([encoder, head, at, how, picture, caption])
