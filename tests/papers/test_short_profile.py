"""The profile ``short``: bundles that fit a window, seeds that stay comparable, one VGG-16 for all."""

import itertools

import pytest

from filterwise.claims.claim_files import load
from filterwise.papers.chapter import chapter_of, decided_by, folders
from filterwise.papers.chapter import jobs as jobs_of
from filterwise.papers.foreseen_jobs import last_seed
from filterwise.papers.power_law.short_points import TOGETHER
from filterwise.runs import stacks

WINDOW = 25 * 60  # seconds of one H200
BUNDLED = tuple(folders())
#: Chapters in which not all arms of a seed come before the next seed: the seeds of a network train as one
#: stack, and end together.
STACKED = ("3-power-law",)
#: Chapters that measure the same VGG-16.
SHARING = ("1-pooling", "3-power-law", "4-sfp")


@pytest.fixture(scope="module")
def queues():
    return {name: jobs_of(name, "short") for name in BUNDLED}


def by_bundle(jobs):
    found: dict = {}
    for job in sorted(jobs, key=lambda job: job.priority):
        found.setdefault(job.bundle, []).append(job)
    return found


@pytest.mark.parametrize("name", BUNDLED)
def test_every_job_is_in_a_bundle_and_every_bundle_fits_the_window(queues, name):
    bundles = by_bundle(queues[name])
    assert "" not in bundles
    assert all(job.cost_seconds for job in queues[name])
    too_long = {
        bundle: sum(job.cost_seconds for job in jobs) / 60
        for bundle, jobs in bundles.items()
        if sum(job.cost_seconds for job in jobs) > WINDOW
    }
    assert not too_long


@pytest.mark.parametrize("name", BUNDLED)
def test_the_queue_is_bundle_by_bundle(queues, name):
    ordered = [job.bundle for job in sorted(queues[name], key=lambda job: job.priority)]
    assert len(list(itertools.groupby(ordered))) == len(set(ordered))


@pytest.mark.parametrize("name", [name for name in BUNDLED if name not in STACKED])
def test_all_arms_of_a_seed_come_before_the_next_seed(queues, name):
    """What has several seeds, such as a committee of equal networks, stands with the last of them."""
    for bundle, jobs in by_bundle(queues[name]).items():
        seeds = [last_seed(job) for job in jobs]
        assert seeds == sorted(seeds), bundle
        for seed, later in itertools.pairwise(sorted(set(seeds))):
            last = max(job.priority for job in jobs if last_seed(job) == seed)
            assert last < min(job.priority for job in jobs if last_seed(job) == later), bundle


@pytest.mark.parametrize("name", BUNDLED)
def test_bundles_that_decide_claims_come_first(queues, name):
    """Of bundles of one seed each the last decides, and those of the other seeds stand before it."""
    families: dict = {}
    for bundle in by_bundle(queues[name]):
        claims = families.setdefault(bundle.partition(", seed ")[0], [])
        claims.append(decided_by(name, bundle, "short"))
    decide = [bool(claims[-1]) for claims in families.values()]
    assert decide == sorted(decide, reverse=True)
    assert not any(any(claims[:-1]) for claims in families.values())


def test_seeds_of_the_power_law_end_together_in_a_stack_or_take_turns(queues):
    for _, group in itertools.groupby(queues["3-power-law"], key=lambda job: job.priority):
        runs = [job.run for job in group]
        members = stacks.groups(runs, TOGETHER)
        if (
            len({run.seed for run in runs}) > 1
        ):  # every network of the group has all the group's seeds at once
            assert {len(places) for places in members} == {len({run.seed for run in runs})}


def test_what_several_chapters_need_is_one_run(queues):
    runs = {name: {job.run for job in queues[name]} for name in SHARING}
    for seed in range(3):
        wide = {
            name: [r for r in found if r.seed == seed and r.model == "vgg16" and r.data == "cifar10"
                   and r.model_kwargs == {"init": "he", "plan": "V"} and r.recipe.epochs == 30
                   and r.recipe.lr == 0.01 and not r.data_options]
            for name, found in runs.items()
        }  # fmt: skip
        assert [len(found) for found in wide.values()] == [1, 1, 1]
        assert len({found[0] for found in wide.values()}) == 1
        assert len({found[0].settings for found in wide.values()}) == 1
    widest = [
        job.run for job in queues["3-power-law"] if dict(job.about)["d1"] == 64 and job.run.model == "vgg16"
    ]
    assert set(widest) <= runs["1-pooling"] & runs["4-sfp"]
    ten = {job.run for job in queues["4-sfp"] if job.run.data == "cifar10"}
    assert ten <= runs["1-pooling"]  # VGG-6 and A-VGG16, too


@pytest.mark.parametrize("name", list(folders()))
def test_bundles_say_which_claims_they_decide(name):
    claims = {claim.id: claim for claim in load(name)}
    about = chapter_of(name)
    known = {job.bundle for profile in ("short", "paper") for job in jobs_of(name, profile)}
    assert set(about.bundles) <= known
    named = [claim for decided in about.bundles.values() for claim in decided]
    assert set(named) | set(about.undecided) <= set(claims)
    assert not set(named) & set(about.undecided)
    queue = {job.bundle for job in jobs_of(name, "short")}
    here = {claim for bundle in queue for claim in decided_by(name, bundle, "short")}
    wanted = {claim.id for claim in claims.values() if "short" in claim.profiles}
    judged = {claim for claim in wanted if claims[claim].criterion.conditions}
    assert here <= wanted
    assert judged <= here | set(about.undecided)
