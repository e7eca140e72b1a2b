"""Networks that chapter 7's page measures live: with weights that a record left, or trained now.

Sixty seconds cannot train a transformer that shows anything, so the page loads ours and measures them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from safetensors.torch import load
from torch import nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import RunError
from filterwise.measure.places_of_encoders import encoder_numbers
from filterwise.measure.token_heads import TOKEN_RECIPE, Reading, read_places
from filterwise.papers.afcc.measured_fields import true_test
from filterwise.papers.vit_shp.encoders_measured import places_of
from filterwise.runs import finding
from filterwise.runs.jobs import Job
from filterwise.runs.networks import beginning
from filterwise.runs.records import arrays
from filterwise.training.evaluation import evaluate


@dataclass(frozen=True, eq=False)
class Live:
    """A trained network on the page.

    Attributes
    ----------
    job, net : what it is
    train, test : training images, without those held out, and the true test images (so many as the job says)
    recorded : the accuracy that its record says, or None if it was trained now
    """

    job: Job
    net: nn.Module = field(repr=False)
    train: ImageSet = field(repr=False)
    test: ImageSet = field(repr=False)
    recorded: float | None

    @property
    def name(self) -> str:
        """The network's name."""
        return str(dict(self.job.about)["network"])

    @property
    def heads(self) -> int:
        """Attention heads H of an encoder."""
        first = encoder_numbers(self.net)[0]
        return int(self.net.get_submodule(f"encoders.{first}.attention.heads").heads)  # type: ignore[arg-type]

    def read(
        self,
        kinds: tuple[str, ...] = ("qkv", "ff"),
        epochs: int = 4,
        images: int = 4000,
        device: str = "auto",
    ) -> dict[str, Reading]:
        """Part, such as "qkv/4", -> what a token head, trained on so many images, reads there."""
        named = places_of(self.net, kinds)
        learned = self.train.balanced(images, seed=0) if images < len(self.train) else self.train
        recipe = TOKEN_RECIPE.replace(epochs=epochs)
        found = read_places(
            self.net, list(named.values()), learned, self.test, recipe, self.job.run.seed, device
        )
        return {part: found[module] for part, module in named.items()}


def networks(
    jobs: Sequence[Job],
    records: pd.DataFrame,
    retrain: bool = False,
    device: str = "auto",
    root: str | Path | None = None,
) -> list[Live]:
    """The networks of some jobs, with the weights that their records left, or trained where there are none.

    ``records``: those of the page's profile, see ``Page.records``; ``retrain``: train all of them now.
    Raises RunError: weights that are not those of the network.
    """
    found = []
    for job in jobs:
        own = records[records["settings"] == job.settings] if "settings" in records else records.iloc[:0]
        kept = {}
        if len(own) and not retrain:
            row = own.iloc[0]
            kept = arrays("7-vit-shp", str(records.attrs["profile"]), str(row["spec_key"]))
        if "weights" in kept:
            train, _ = job.run.sets(root)
            net = beginning(job.run, train)
            try:
                net.load_state_dict(load(kept["weights"].tobytes()))
            except RuntimeError as error:
                raise RunError(f"the record of {job.name!r} has other weights: {error}") from error
            test = _test_of(job, root)
            found.append(Live(job, net, train, test, float(own.iloc[0]["accuracy"])))
        else:
            result = finding.result(job.run, data_root=root, device=device)
            test = true_test(result, _tested(job))
            found.append(Live(job, result.network(), result.train_set(), test, None))
    return found


def _tested(job: Job) -> int:
    """Test images that the job's measurement looks at, 0 for all."""
    return int(str(dict(job.options).get("test_images", 0)))


def _test_of(job: Job, root: str | Path | None) -> ImageSet:
    options = {name: value for name, value in job.run.data_kwargs.items() if name != "held_out"}
    test = job.run.replace(data_options=options).sets(root)[1]
    count = _tested(job)
    return test.balanced(count, seed=0) if count else test


def about(nets: Sequence[Live], device: str = "auto") -> pd.DataFrame:
    """The page's networks: heads, parameters, accuracy measured now and as recorded."""
    rows = [
        {
            "network": one.name,
            "heads": one.heads,
            "parameters": sum(weight.numel() for weight in one.net.parameters()),
            "training images": len(one.train),
            "epochs": one.job.run.recipe.epochs,
            "accuracy": evaluate(one.net, one.test, device=device).accuracy,
            "as recorded": float("nan") if one.recorded is None else one.recorded,
        }
        for one in nets
    ]
    return pd.DataFrame(rows).set_index("network")
