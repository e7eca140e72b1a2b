"""Seconds of a queue of jobs: every training once, in the first job that needs it; and the order of seeds."""

import pytest

import filterwise as fw
from filterwise import _torchvision
from filterwise.papers.afcc.short_prunings import EFFICIENTNET
from filterwise.papers.foreseen_jobs import CPU_RATE, foreseen, in_bundles, in_turn, on_a_processor, queued
from filterwise.runs import cost
from filterwise.runs.jobs import Job
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

DENSE = [Run("lenet5", "cifar10", Recipe(epochs=60), seed) for seed in range(3)]
AGAIN = [run.then(recipe=Recipe(epochs=4)) for run in DENSE]


def job(name, *runs):
    return Job(name, runs, "tree.network")


def seconds(jobs):
    return [each.cost_seconds for each in foreseen(jobs, lambda _: 10.0)]


def test_a_start_is_counted_in_the_first_job_that_needs_it():
    dense, again = cost.foreseen(DENSE[0]), cost.foreseen(AGAIN[0])
    first, second = job("dense", DENSE[0]), job("again", AGAIN[0])
    assert seconds([first, second]) == pytest.approx([dense + 10, again + 10])
    assert seconds([second, first]) == pytest.approx([dense + again + 10, 10])
    more = job("and again", AGAIN[0].then())
    assert seconds([first, more, second]) == pytest.approx([dense + 10, 2 * again + 10, 10])


def test_members_of_a_committee_are_counted_once():
    dense = cost.foreseen(DENSE[0])
    whole, pair = job("three", *DENSE), job("two", *DENSE[:2])
    assert seconds([pair, whole]) == pytest.approx([2 * dense + 10, dense + 10])
    assert seconds([job("twice", DENSE[0], AGAIN[0])]) == pytest.approx(
        [dense + cost.foreseen(AGAIN[0]) + 10]
    )


def test_seeds_take_turns_and_what_needs_several_waits_for_the_last():
    jobs = [job("all", *DENSE)]
    jobs += [job(f"{kind} {run.seed}", run) for kind, runs in (("a", DENSE), ("b", AGAIN)) for run in runs]
    listed = queued([*in_turn("one", jobs), *in_turn("two", [job("late", DENSE[0])])])
    assert [each.name for each in listed] == ["a 0", "b 0", "a 1", "b 1", "all", "a 2", "b 2", "late"]
    assert [each.priority for each in listed] == list(range(8))
    assert {each.bundle for each in listed[:-1]} == {"one"}
    assert listed[-1].bundle == "two"
    together = queued([("one", [job("x", DENSE[0]), job("y", DENSE[1])])])
    assert {each.priority for each in together} == {0}


def test_bundles_have_the_order_of_their_names_and_lose_no_job():
    jobs = [job(name, run) for name, run in zip("abc", DENSE, strict=True)]
    bundle_of = {"a": "late", "b": "early", "c": "late"}
    found = in_bundles(("early", "late"), jobs, lambda each: bundle_of[each.name])
    assert [(name, [each.name for each in own]) for name, own in found] == [
        ("early", ["b"]), ("late", ["a"]), ("late", ["c"])
    ]  # fmt: skip
    with pytest.raises(KeyError, match="late"):
        in_bundles(("early",), jobs, lambda each: bundle_of[each.name])


def test_passes_on_a_processor_are_counted_by_operations():
    net = fw.models.build(DENSE[0].model, **DENSE[0].model_kwargs)  # of 10 labels, 3 x 32 x 32
    macs = fw.models.macs(net)
    assert on_a_processor(DENSE[0], 1000) == pytest.approx(1000 * macs / CPU_RATE)


def test_the_written_size_of_efficientnet_is_its_size():
    try:
        _torchvision.load()
    except _torchvision.TorchvisionMissing as missing:
        pytest.skip(str(missing))
    assert cost.size("efficientnet_b0", (), 100, (3, 32, 32)) == EFFICIENTNET
