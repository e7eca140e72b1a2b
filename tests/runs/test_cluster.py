"""The same sweep on a Dask cluster, one of whose workers is killed in the middle."""

import pytest
import tiny_runs
from joblib import parallel_config
from tiny_runs import CIRCUMSTANCES, RUN

from filterwise.runs import finding, grid, sweep, workers

distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")

RUNS = grid(RUN.replace(**{"recipe.epochs": 5}), seed=range(4))


@pytest.mark.slow
# distributed speaks to its processes over loopback; what it warns of there is no concern of ours
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_a_killed_worker_of_a_cluster_loses_no_run(tmp_path):
    alone = sweep(RUNS, 1, root=tmp_path / "alone", device="cpu", progress=False).check()
    flag = tmp_path / "killed"
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=120)
        client.run(tiny_runs.kill_once, str(flag))
        assert not workers.on_cluster()
        with parallel_config(backend="dask", client=client):
            assert workers.on_cluster()
            assert workers.plan(None, "cpu", 1) == (-1, workers.Place("cpu", None, 1))
            answer = sweep(RUNS, root=tmp_path / "cluster", device="cpu", checkpoint_every=2, progress=False)
    assert flag.exists(), "no worker was killed"
    answer.check()
    assert answer.table["status"].tolist() == ["run"] * 4
    assert answer.table.drop(columns=CIRCUMSTANCES).equals(alone.table.drop(columns=CIRCUMSTANCES))
    for run in RUNS:
        assert finding.stored(run, tmp_path / "cluster")[0] is not None
        assert not finding.partial_folder(tmp_path / "cluster", run.keys()).exists()
