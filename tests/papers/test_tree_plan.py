"""Chapter 2's trainings: names, recipes, rates that were chosen where they say, lists without overlaps."""

import pytest

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.papers.chapter import jobs as jobs_of
from filterwise.papers.tree import plan
from filterwise.papers.tree.quantities import AT_EQUAL_COMPUTE, best_rates
from filterwise.runs.jobs import check_jobs
from filterwise.runs.records import load_records


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_every_profile_has_a_list_without_overlaps(profile):
    listed = jobs_of("2-tree", profile)
    check_jobs(listed)
    assert len({job.name for job in listed}) == len(listed)
    assert {job.bundle for job in listed} <= {"online", "offline", "more seeds", "sigmoid"}


def test_names_say_the_network():
    assert plan.network_of("lenet5 d1=8") == ("lenet5", {"d1": 8, "d2": 22})
    assert plan.network_of("ten tree3 15/80")[1]["per_label"] is True
    assert plan.network_of("tree3 6/16 sigmoid")[1] == {
        "K": 6,
        "M": 16,
        "activation": "sigmoid",
        "start": "normal",
    }
    with pytest.raises(ParameterError, match="did you mean 'tree3 6/16'"):
        plan.network_of("tree 6/16")


def test_controls_have_about_the_operations_of_their_trees():
    def macs(name):
        model, options = plan.network_of(name)
        return fw.models.macs(fw.models.build(model, **options))

    for tree, lenet in AT_EQUAL_COMPUTE.items():
        if lenet == "lenet5":
            assert macs(tree) < macs(lenet)  # the smallest tree is the cheaper one
        else:
            assert macs(lenet) == pytest.approx(macs(tree), rel=0.05)


def test_the_control_of_equal_size_has_the_weights_of_the_largest_tree():
    def weights(name):
        model, options = plan.network_of(name)
        return fw.models.parameter_count(fw.models.build(model, **options))

    assert weights(plan.EQUAL_SIZE) == pytest.approx(weights("tree3 15/80"), rel=0.01)


def test_online_is_one_pass_without_augmentation_at_one_rate():
    arm = plan.PAPER.online("tree3 15/80", 0.005, 2)
    recipe = arm.run.recipe
    assert (recipe.epochs, recipe.flip, recipe.shift, recipe.weight_decay) == (1, False, 0, 0.0)
    assert {recipe.learning_rate(step, 5000) for step in (0, 2500, 4999)} == {0.005}
    assert arm.run.step[0] == "tree"


def test_offline_schedules_are_the_papers():
    lenet = plan.PAPER.offline("lenet5", 0.01, 0).run.recipe
    assert [lenet.learning_rate(epoch * 500, 500) for epoch in (0, 99, 100, 149, 150, 199)] == pytest.approx(
        [0.01, 0.01, 0.005, 0.005, 0.001, 0.001]
    )
    tree = plan.PAPER.offline("tree3 15/80", 0.01, 0).run.recipe
    assert tree.learning_rate(20 * 500, 500) == pytest.approx(0.006)
    short = plan.SHORT.offline("tree3 15/80", 0.01, 0).run.recipe
    assert (short.epochs, short.decay_every) == (20, 2)
    assert plan.SHORT.offline("lenet5", 0.01, 0).run.recipe.milestones == ((10, 0.005), (15, 0.001))


def test_rates_are_tried_on_held_out_images_alone():
    for arm in [arm for group in plan.arms("paper") for arm in group]:
        assert (arm.run.data_kwargs.get("held_out") is not None) == (arm.kind == "tuning")


@pytest.mark.parametrize(
    ("profile", "regime", "chosen"),
    [("paper", "online", plan.CHOSEN_ONLINE), ("short", "offline", plan.CHOSEN_OFFLINE)],
)
def test_the_rates_of_the_plan_are_the_best_of_the_records(profile, regime, chosen):
    found = best_rates(load_records("2-tree", profile), regime)
    for (network, _), rate in found.items():
        assert chosen[network] == rate, network


def test_page_jobs():
    listed = plan.page_jobs("quick", seed=3, seeds=2, K=2, M=5, rates=[0.01, 0.02])
    assert len(listed) == 2 * 2 + 2 * 2 * 2
    assert listed[-1].name == "tree3 2/5 online, rate 0.02, seed 4"
    assert plan.page_jobs("paper")[0].run.data == "cifar10"
    for wrong, words in [
        ({"profile": "quik"}, "did you mean 'quick'"),
        ({"profile": "quick", "M": 0}, "M=0 is not allowed"),
        ({"profile": "quick", "rates": [0.1, 0.1]}, "must be different numbers above 0"),
        ({"profile": "quick", "rates": [-0.1]}, "must be different numbers above 0"),
        ({"profile": "quick", "seeds": 0}, "seeds=0 is too small"),
    ]:
        with pytest.raises(ParameterError, match=words):
            plan.page_jobs(**wrong)
