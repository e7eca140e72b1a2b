import pytest
import torch


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
