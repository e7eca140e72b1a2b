"""A whole network measured filter by filter: heads, label fields, clusters and noise of every layer.

Tzach et al. 2023; Meir et al. 2024. Beside it the control that was not trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor, nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import check_at_least
from filterwise.measure.fields import label_fields, rank_one_share
from filterwise.measure.heads import HEAD_RECIPE, Head, probe_heads
from filterwise.measure.inputs import InputFields
from filterwise.measure.means import ClassSums, label_counts
from filterwise.measure.norms import refit_norms
from filterwise.measure.summary import layer_summary_of, order_sweep
from filterwise.models.counting import layer_names
from filterwise.training.device import threads
from filterwise.training.recipe import Recipe

THRESHOLDS = (0.2, 0.3, 0.4, 0.5)
#: Entries of a layer's matrices (F, K, K) that a study keeps; above it only the first filters' are kept.
KEPT_ENTRIES = 2**24
_SUMMARY = ["N_c", "C_s", "n", "n_in", "n_out", "D", "SNR_block", "SNR_label", "SNR_mf"]


@dataclass(frozen=True)
class SfpStudy:
    """What was measured on one network.

    Attributes
    ----------
    table : one row per layer, bottom to top, indexed by its name: ``probe_accuracy``; what ``layer_summary``
        gives at the study's threshold, ``no_cluster`` being the share of filters without; ``filters`` F,
        ``positions`` P; ``preferred_share``, ``active_share`` (of inputs that the filter answers at all),
        ``single_filter_accuracy`` and ``rank_one_share``, means over filters; ``N_c_shuffled`` and
        ``C_s_shuffled``, means over greedy orders drawn at random
    thresholds : the same averages at other thresholds, columns ``layer, threshold, N_c, ...``
    matrices : by layer M (F, K, K), row = input label; of the first filters only where F K K is large
    coverage : by layer S (K, K), S_ij = how many filters raise output j when label i is shown
    per_label : by layer (K,), the probe head's accuracy for each label
    preferred : by layer (F,), each filter's share of its commonest answer
    heads : by layer, the trained heads; ``weight`` (K, F, P)
    threshold : theta of the table

    >>> import filterwise as fw
    >>> net = fw.models.build("vgg", labels=3, channels=1, size=16, stages=((4, 1), (8, 1)))
    >>> train, test = (fw.data.load("parts", s, labels=3, n=60) for s in ("train", "test"))
    >>> found = study(net, train, test, recipe=Recipe(epochs=1), device="cpu")
    >>> found.matrices["features.2"].shape, found.coverage["features.2"].shape, len(found.table)
    (torch.Size([8, 3, 3]), torch.Size([3, 3]), 2)
    """

    table: pd.DataFrame
    thresholds: pd.DataFrame
    matrices: dict[str, Tensor]
    coverage: dict[str, Tensor]
    per_label: dict[str, Tensor]
    preferred: dict[str, Tensor]
    heads: dict[str, Head] = field(repr=False)
    threshold: float = 0.3

    @property
    def layers(self) -> list[str]:
        """Names of the measured layers, bottom to top."""
        return list(self.table.index)


def study(
    net: nn.Module,
    train: ImageSet,
    test: ImageSet,
    layers: Sequence[str] | None = None,
    *,
    threshold: float = 0.3,
    thresholds: Sequence[float] = THRESHOLDS,
    recipe: Recipe = HEAD_RECIPE,
    seed: int = 0,
    shuffles: int = 10,
    pool: int | None = None,
    device: str | torch.device = "auto",
) -> SfpStudy:
    """Measure every layer: probe head, class means, label fields, clusters and noise.

    One pass over the test images serves all that is measured on them; on the CPU one thread does the work.

    Parameters
    ----------
    train, test : heads are trained on ``train``; all else is measured on ``test``
    layers : bottom to top; by default all that ``models.layer_names`` names
    threshold, thresholds : theta of the clipping, 0.3 in the papers' script, and others to compare
    recipe : of the heads, equal for all layers. Features are kept, not made anew, if it does not augment.
    seed : of the heads' weights, the order of images and the shuffled greedy orders
    shuffles : random greedy orders; they change N_c and C_s, not D
    pool, device : as in ``class_means``

    Raises ParameterError: unknown layers, ``train`` and ``test`` with other labels, or a negative number of
    shuffles; DataError: a label without images.

    >>> import filterwise as fw
    >>> net = fw.models.build("vgg", labels=3, channels=1, size=16, stages=((4, 1), (8, 1)))
    >>> train, test = (fw.data.load("parts", s, labels=3, n=60) for s in ("train", "test"))
    >>> study(net, train, test, recipe=Recipe(epochs=1), device="cpu").layers
    ['features.1', 'features.2']
    """
    check_at_least("shuffles", shuffles, 0)
    names = list(layer_names(net) if layers is None else layers)
    label_counts(test)
    cache = not (recipe.flip or recipe.shift)  # the same features in every epoch
    sums, answers = ClassSums(len(test.label_names)), dict[str, InputFields]()

    def watch(weights: Mapping[str, Tensor], outputs: Mapping[str, Tensor], own: Tensor) -> None:
        sums.add(outputs, own)
        for name, weight in weights.items():
            answers.setdefault(name, InputFields.of_none(*weight.shape[:2])).add(outputs[name], weight, own)

    heads = probe_heads(net, names, train, test, recipe, seed, device, pool, cache, watch=watch)
    means = sums.means()
    with threads(1):  # the rest is done on the CPU whatever the device
        parts = [_layer(means[name], heads[name], answers[name], threshold, shuffles, seed) for name in names]
        swept = []
        for name in names:
            for theta in thresholds:
                at_theta, _, _ = layer_summary_of(means[name], heads[name].weight, theta)
                swept.append({"layer": name, "threshold": theta, **at_theta[_SUMMARY]})
    rows, matrices, coverage = zip(*parts, strict=True)
    return SfpStudy(
        pd.DataFrame(rows, index=pd.Index(names, name="layer")),
        pd.DataFrame(swept),
        dict(zip(names, matrices, strict=True)),
        dict(zip(names, coverage, strict=True)),
        {name: head.per_label for name, head in heads.items()},
        {name: answers[name].preferred_share for name in names},
        heads,
        threshold,
    )


def _layer(
    mean: Tensor, head: Head, answers: InputFields, threshold: float, shuffles: int, seed: int
) -> tuple[dict[str, float], Tensor, Tensor]:
    """One layer's row of the table, its first matrices M, and S."""
    labels, filters, positions = mean.shape
    kept = max(1, KEPT_ENTRIES // labels**2)
    fields = label_fields(mean[:, :kept], head.weight[:, :kept])
    summary, _, S = layer_summary_of(mean, head.weight, threshold)
    shuffled = order_sweep(fields, threshold, shuffles, seed).iloc[1:]
    row = {
        "probe_accuracy": head.accuracy,
        **summary[_SUMMARY],
        "no_cluster": summary["share_without_cluster"],
        "filters": filters,
        "positions": positions,
        "preferred_share": float(answers.preferred_share.mean()),
        "active_share": float(answers.active_share.mean()),
        "single_filter_accuracy": float(answers.accuracy.mean()),
        "rank_one_share": float(rank_one_share(fields).nanmean()),
        "N_c_shuffled": float(shuffled["N_c"].mean()),
        "C_s_shuffled": float(shuffled["C_s"].mean()),
    }
    return row, fields, torch.from_numpy(S)


def untrained(net: nn.Module, train: ImageSet, images: int = 2000) -> nn.Module:
    """A control: a copy of a network with its initial weights whose batch norms fit the images.

    Without this step the activations of an untrained network shrink layer by layer in evaluation mode, and
    its probe heads would lag for a reason that has nothing to do with training. The first ``images`` of
    ``train`` are used, in one batch.

    >>> import filterwise as fw
    >>> net = fw.models.build("vgg", labels=3, channels=1, size=16, stages=((4, 1), (8, 1)))
    >>> untrained(net, fw.data.load("parts", labels=3, n=30)).layer_names
    ('features.1', 'features.2')
    """
    return refit_norms(net, train, images)
