"""The numbers behind the figures: what is drawn is what was given, and what cannot be drawn is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

from filterwise import figures
from filterwise.errors import ParameterError
from filterwise.figures.matrices import EXTERNAL, INTERNAL, SIGNAL
from filterwise.figures.tables import layer_number
from filterwise.measure import clip, clusters, noise

TABLE = pd.DataFrame(
    {
        "network": ["vgg6", "vgg6", "vgg6", "vgg6", "lenet5", "lenet5"],
        "seed": [0, 1, 0, 1, 0, 0],
        "layer": ["features.1", "features.1", "features.10", "features.10", "features.1", "features.2"],
        "probe_accuracy": [0.4, 0.6, 0.9, 0.8, 0.3, 0.7],
        "n": [9.0, 7.0, 2.0, 4.0, 8.0, 6.0],
    }
)


def test_probe_accuracy_draws_the_mean_over_seeds_at_the_layers_number() -> None:
    ax = figures.probe_accuracy(TABLE, chance=0.1).axes[0]
    lines = {line.get_label(): line.get_xydata() for line in ax.lines}
    np.testing.assert_allclose(lines["vgg6, 2 seeds"], [[1, 0.5], [10, 0.85]])
    np.testing.assert_allclose(lines["lenet5"], [[1, 0.3], [2, 0.7]])
    assert lines["chance"][:, 1].tolist() == [0.1, 0.1]


def test_spread_over_seeds_is_one_standard_deviation() -> None:
    ax = figures.probe_accuracy(TABLE).axes[0]
    low, high = ax.collections[0].get_paths()[0].vertices[:, 1].min(), 0.5 + np.std([0.4, 0.6], ddof=1)
    assert low == pytest.approx(0.5 - np.std([0.4, 0.6], ddof=1))
    assert high in ax.collections[0].get_paths()[0].vertices[:, 1]


def test_one_picture_a_quantity_with_the_same_networks_in_each() -> None:
    figure = figures.layer_quantities(TABLE, ["n", "probe_accuracy"])
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == 2
    assert all(len(ax.lines) == 2 for ax in shown)
    np.testing.assert_allclose(shown[0].lines[1].get_ydata(), [8.0, 3.0])


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_kinds_of_entries_are_counted_as_the_library_counts_noise(threshold: float) -> None:
    generator = torch.Generator().manual_seed(3)
    for M in torch.randn(40, 7, 7, generator=generator) + torch.eye(7):
        B = clip(M, threshold).numpy()
        found = clusters(B)
        kinds = figures.classify(B, found)
        s, _, n_in, n_out = noise(B, found)
        assert ((kinds == SIGNAL).sum(), (kinds == INTERNAL).sum(), (kinds == EXTERNAL).sum()) == (
            s,
            n_in,
            n_out,
        )
        assert ((kinds > 0) == B).all()


def test_filter_matrices_draw_every_cluster_as_a_box_on_the_diagonal() -> None:
    M = torch.eye(5)
    M[0, 3] = M[3, 0] = 1.0
    figure = figures.filter_matrices({"layer 1, filter 0": M}, list("abcde"))
    reordered = figure.axes[2]
    assert [(p.get_x(), p.get_width()) for p in reordered.patches] == [
        (-0.5, 2),
        (1.5, 1),
        (2.5, 1),
        (3.5, 1),
    ]
    assert [text.get_text() for text in reordered.get_xticklabels()] == ["a", "d", "b", "c", "e"]


def test_a_filter_that_raises_nothing_is_drawn_without_boxes() -> None:
    figure = figures.filter_matrices({"layer 1, filter 0": -torch.ones(3, 3)})
    assert not figure.axes[2].patches
    assert "<svg" in figure.svg()


def test_cluster_sizes_are_shares_of_all_clusters() -> None:
    bars = figures.cluster_sizes({"vgg6": [1, 1, 2, 4]}).axes[0].patches
    assert [bar.get_height() for bar in bars] == [0.5, 0.25, 0.0, 0.25]


def test_error_against_labels_fits_the_means() -> None:
    table = pd.DataFrame(
        [{"labels": K, "error": 0.01 * K + 0.02 + bias} for K in (3, 10, 20) for bias in (-0.01, 0.01)]
    )
    ax = figures.error_against_labels(table).axes[0]
    assert "0.0100 a label, r = 1.000" in ax.get_legend_handles_labels()[1][0]
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), [0.05, 0.22])


def test_threshold_robustness_has_a_line_for_each_layer() -> None:
    rows = [
        {"threshold": t, "layer": layer, "n": 1 / t}
        for t in (0.2, 0.3)
        for layer in ("features.2", "features.10")
    ]
    figure = figures.threshold_robustness(pd.DataFrame(rows), ["n"])
    assert figure.axes[0].get_legend_handles_labels()[1] == ["layer 2", "layer 10"]


def test_records_become_long_tables_and_empty_cells_stay_out() -> None:
    records = pd.DataFrame(
        {
            "network": ["a", "b"],
            "seed": [0, 0],
            "n@features.2": [1.0, np.nan],
            "n@features.10": [2.0, 3.0],
            "x": [0, 0],
        }
    )
    table = figures.by_layer(records, ["n"])
    assert table[["network", "number", "n"]].to_numpy().tolist() == [
        ["a", 2, 1.0],
        ["a", 10, 2.0],
        ["b", 10, 3.0],
    ]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: figures.by_layer(pd.DataFrame({"n_in@features.1": [1.0]}), ["nin"]), "did you mean 'n_in'"),
        (lambda: figures.probe_accuracy(TABLE, "probe_acuracy"), "did you mean 'probe_accuracy'"),
        (lambda: figures.probe_accuracy(TABLE.iloc[:0]), "no rows"),
        (lambda: figures.layer_quantities(TABLE, []), "quantities is empty"),
        (lambda: figures.filter_matrices({}), "fields is empty"),
        (lambda: figures.filter_matrices({"a": torch.eye(3)}, ["x"]), "1 names for 3 labels"),
        (lambda: figures.commonest_share({"features.1": [1.2]}), "from 0 to 1"),
        (lambda: figures.cluster_sizes({"a": []}), "at least 1"),
        (lambda: figures.coverage([1, 2], [0.5]), r"both must be \(K,\)"),
        (
            lambda: figures.error_against_labels(pd.DataFrame({"labels": [1, 2], "error": [0, 0]})),
            "at least 3",
        ),
        (lambda: figures.explore({"features.1": torch.zeros(2, 3, 4)}), r"\(F, K, K\)"),
        (lambda: figures.explore({"features.1": torch.zeros(2, 3, 3)}, threshold=1.0), r"outside \[0, 1\)"),
        (lambda: layer_number("head"), "has no number"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(call: object, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        call()  # type: ignore[operator]
