"""Whether the more accurate of several networks has the better signal-to-noise ratio."""

from __future__ import annotations

import numpy as np

from filterwise.claims.record_rows import joined
from filterwise.claims.registered import Rows

#: Two networks agree with any order every other time.
NETWORKS_NEEDED = 3


def order_of_networks(runs_measured: Rows, gain: bool) -> Rows:
    """Kendall's tau of accuracy and last-layer SNR_block, an arm a data set and number of labels K.

    Parameters
    ----------
    runs_measured : a row a run with ``network, data, labels, seed, accuracy, device``, ``SNR_block`` and
        ``untrained_SNR_block``
    gain : whether the ratio of untrained convolutions is taken off; it is the control otherwise

    Networks are compared on the seeds that all of them have; fewer than :data:`NETWORKS_NEEDED` give no row.
    """
    arms: dict[tuple[str, int], dict[str, Rows]] = {}
    for run in runs_measured:
        arms.setdefault((run["data"], run["labels"]), {}).setdefault(run["network"], []).append(run)
    rows = []
    for (data, labels), networks in arms.items():
        seeds = set.intersection(*({run["seed"] for run in runs} for runs in networks.values()))
        if len(networks) < NETWORKS_NEEDED or not seeds:
            continue
        names = sorted(networks)
        runs = [[run for run in networks[name] if run["seed"] in seeds] for name in names]
        accuracy, trained, control = (
            [float(np.mean([run[of] for run in each])) for each in runs]
            for of in ("accuracy", "SNR_block", "untrained_SNR_block")
        )
        ratio = np.subtract(trained, control).tolist() if gain else trained
        about = {of: joined(run[of] for each in runs for run in each) for of in ("data", "device")}
        rows.append(
            {
                "arm": f"{' / '.join(names)}, {data}, {labels} labels",
                "n": len(seeds),
                "value": kendall(accuracy, ratio),
                "control": kendall(accuracy, control),
                **about,
            }
        )
    return rows


def kendall(first: list[float], second: list[float]) -> float:
    """Kendall's tau-b: agreement of the signs of all differences; of equal values not a number."""
    one, two = (np.sign(np.subtract.outer(each, each)) for each in (first, second))
    pairs = np.sqrt((one**2).sum() * (two**2).sum())
    return float((one * two).sum() / pairs) if pairs else np.nan
