import pytest
import torch

from filterwise.training import ensemble


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory, monkeypatch):
    """Nothing here touches the user's runs, records, rates or choices of precision."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("RUNS", "RECORDS", "CACHE"):
        monkeypatch.setenv(f"FILTERWISE_{name}", str(folder / name.lower()))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(before)


@pytest.fixture
def stacked(monkeypatch):
    """Members' seeds and the epochs of every stack that is trained."""
    seen, real = [], ensemble.fit_many

    def fit_many(nets, train, test, recipes, seeds, *rest, after_epoch=None, **options):
        seen.append((list(seeds), epochs := []))

        def noted(row):
            epochs.append(row["epoch"])
            if after_epoch is not None:
                after_epoch(row)

        return real(nets, train, test, recipes, seeds, *rest, after_epoch=noted, **options)

    monkeypatch.setattr(ensemble, "fit_many", fit_many)
    return seen
