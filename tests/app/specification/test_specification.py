"""Specifications: which are valid, what the others have wrong with them and where, and what follows from one."""

from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.errors import InvalidInput
from app.learning import start_of
from app.recommenders import Payload, Popular, Random, Similar, Static
from app.specification import (
    Aggregation,
    AnyMemory,
    Arm,
    ArmState,
    Decay,
    Everything,
    ExperimentRequest,
    Metric,
    Override,
    Reward,
    SlidingWindow,
    Specification,
    State,
    WarmStart,
    bucket_width,
    check,
    epoch_changes,
    prior_of,
    priors_of,
    same,
)
from bandits.bernoulli import BetaPrior
from bandits.epsilon_greedy import DecreasingEpsilon, EpsilonGreedy
from bandits.fixed import Fixed
from bandits.policy import AnyPolicy
from bandits.softmax import Softmax
from bandits.statistics import ArmStatistics
from bandits.thompson import ThompsonSampling
from bandits.top_two import TopTwo
from bandits.ucb import UpperConfidenceBound
from bandits.winning import probability_best

KEYS = st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True)
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
SCALARS = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15) | st.text(max_size=5)
PAYLOADS = (
    st.none() | SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)
)
RECOMMENDERS = st.one_of(
    st.builds(Payload, value=PAYLOADS),
    st.builds(Static, items=st.lists(IDS, min_size=1, max_size=4, unique=True).map(tuple)),
    st.builds(Similar, history_length=st.integers(1, 1000), exclude_seen=st.booleans()),
    st.just(Popular()) | st.just(Random()),
)
PRIORS = st.none() | st.fixed_dictionaries({}, optional={name: st.floats(0.1, 1e9) for name in ("alpha", "beta")})

MEMORIES = st.one_of(
    st.just(Everything()),
    st.builds(SlidingWindow, window_s=st.floats(1, 315_360_000)),
    st.builds(Decay, half_life_s=st.floats(1, 315_360_000)),
)


@st.composite
def policies(draw: st.DrawFn, keys: list[str]) -> AnyPolicy:
    """Any policy that fits arms with these keys."""
    shares = {key: 2.0**-n for n, key in enumerate(keys, start=1)}
    shares[keys[-1]] += 2.0 ** -len(keys)
    own: list[AnyPolicy] = [
        ThompsonSampling(),
        TopTwo(beta=draw(st.floats(0, 1))),
        EpsilonGreedy(epsilon=draw(st.floats(0, 1) | st.builds(DecreasingEpsilon, d=st.floats(0.01, 1)))),
        UpperConfidenceBound(variant=draw(st.sampled_from(["ucb1", "kl_ucb"]))),
        Softmax(temperature=draw(st.floats(1e-6, 1e6))),
        Fixed(probabilities=shares),
    ]
    return replace(
        draw(st.sampled_from(own)),
        min_propensity=draw(st.none() | st.floats(0, 1 / len(keys))),
        warm_up=draw(st.integers(0, 1_000_000)),
    )


@st.composite
def overrides(draw: st.DrawFn, keys: list[str]) -> tuple[Override, ...]:
    """Any overrides that fit active arms with these keys."""
    arms = draw(st.lists(st.sampled_from(keys), max_size=4))
    units = draw(st.lists(IDS, min_size=len(arms), unique=True, max_size=12))
    shares: list[float | None] = draw(
        st.lists(st.none() | st.floats(0.01, 0.25), min_size=len(arms), max_size=len(arms))
    )
    return tuple(
        Override(arm=arm, units=tuple(units[n :: len(arms)]), share=share)
        for n, (arm, share) in enumerate(zip(arms, shares, strict=True))
    )


@st.composite
def specifications(draw: st.DrawFn) -> Specification:
    """Any valid specification."""
    keys = draw(st.lists(KEYS, min_size=1, max_size=6, unique=True))
    others: st.SearchStrategy[ArmState] = st.sampled_from(get_args(ArmState))
    states: list[ArmState] = ["active", *draw(st.lists(others, min_size=len(keys) - 1, max_size=len(keys) - 1))]
    arms = tuple(
        Arm(key=key, state=state, recommender=draw(RECOMMENDERS), prior=draw(PRIORS))
        for key, state in zip(keys, draw(st.permutations(states)), strict=True)
    )
    window_s = draw(st.floats(1, 2_592_000))
    reward = Reward(
        metric=draw(KEYS),
        missing=draw(st.sampled_from(["default", "explicit"])),
        default=draw(st.sampled_from([0.0, 1.0])),
        window_s=window_s,
        late_until_s=draw(st.floats(window_s, 31_536_000)),
        aggregation=draw(
            st.sampled_from([a for a in get_args(Aggregation) if a not in {"sum", "mean"}])
        ),  # of no Bernoulli reward
    )
    metrics = draw(
        st.lists(
            st.builds(
                Metric,
                key=KEYS.filter(lambda key: key != reward.metric),
                aggregation=st.sampled_from(get_args(Aggregation)),
            ),
            max_size=4,
            unique_by=lambda metric: metric.key,
        )
    )
    return Specification(
        arms=arms,
        control=draw(st.none() | st.sampled_from(keys)),
        policy=draw(policies(keys)),
        reward=reward,
        metrics=tuple(metrics),
        memory=draw(MEMORIES),
        assignment=draw(st.sampled_from(["request", "unit"])),
        holdout=draw(st.floats(0, 1, exclude_max=True)),
        overrides=draw(overrides([arm.key for arm in arms if arm.state == "active"])),
        fallback=draw(st.lists(IDS, max_size=3).map(tuple)),
    )


def read(text: str) -> Specification:
    """A specification from JSON."""
    return msgspec.json.decode(text, type=Specification)


def faults(spec: Specification) -> dict[str, str]:
    """What is wrong with a specification, by pointer."""
    with pytest.raises(InvalidInput) as caught:
        check(spec)
    return dict(caught.value.faults)


def two(**parts: Any) -> Specification:
    """Arms "a" and "b"."""
    return Specification(**{"arms": (Arm(key="a"), Arm(key="b")), **parts})


# --- valid ones -----------------------------------------------------------------------------------------------------


@given(specifications())
def test_a_valid_specification_is_accepted_and_survives_json(spec: Specification) -> None:
    """What is valid has no fault, and comes back from JSON as it was: the same, with no change of epoch."""
    check(spec)
    again = msgspec.json.decode(msgspec.json.encode(spec), type=Specification)
    assert again == spec
    assert same(again, spec)
    assert not epoch_changes(again, spec)
    assert msgspec.convert(msgspec.to_builtins(spec), Specification) == spec


@given(specifications())
def test_what_follows_from_a_specification_fits_it(spec: Specification) -> None:
    """Control, priors and aggregations are there for all arms and metrics."""
    assert spec.control_arm in spec.arm_keys
    assert spec.control is not None or spec.control_arm == spec.arms[0].key
    for arm in spec.arms:
        prior = prior_of(spec, arm)
        assert isinstance(prior, BetaPrior)
        assert (prior.alpha, prior.beta) == tuple((arm.prior or {}).get(name, 1.0) for name in ("alpha", "beta"))
    assert spec.aggregation_of(spec.reward.metric) == spec.reward.aggregation
    assert all(spec.aggregation_of(metric.key) == metric.aggregation for metric in spec.metrics)
    assert spec.aggregation_of("no such metric") is None


def test_the_minimal_specification_has_the_documented_defaults() -> None:
    """Two keys are a whole experiment, and the defaults are those of api.md."""
    spec = read('{"arms": [{"key": "a"}, {"key": "b"}]}')
    check(spec)
    assert spec == two()
    assert spec.policy == ThompsonSampling(min_propensity=None, warm_up=100)
    assert spec.reward == Reward(
        metric="click",
        model="bernoulli",
        missing="default",
        default=0,
        window_s=1800,
        late_until_s=604800,
        aggregation="any",
    )
    assert (spec.memory.kind, spec.assignment, spec.exposure, spec.holdout) == ("all", "request", "decision", 0)
    assert (spec.control_arm, spec.metrics, spec.overrides, spec.fallback) == ("a", (), (), ())


@given(specifications(), st.sampled_from(get_args(State)))
def test_a_request_is_a_specification_and_a_state(spec: Specification, state: State) -> None:
    """The body of a PUT is the specification with a state beside it, which need not be there."""
    body = msgspec.to_builtins(spec)
    with_state = msgspec.convert({**body, "state": state}, ExperimentRequest)
    without = msgspec.convert(body, ExperimentRequest)
    assert with_state.specification() == without.specification() == spec
    assert (with_state.state, without.state) == (state, msgspec.UNSET)


# --- what decoding refuses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{}", "`arms`"),
        ('{"arms": []}', "$.arms"),
        ('"arm": 1', "`arm`"),
        ('{"arms": [{"key": ""}]}', "$.arms[0].key"),
        ('{"arms": [{"key": "a b"}]}', "$.arms[0].key"),
        ('{"arms": [{"key": "a\\n"}]}', "$.arms[0].key"),
        ('{"arms": [{"key": "é"}]}', "$.arms[0].key"),
        ('{"arms": [{"key": "' + "x" * 65 + '"}]}', "$.arms[0].key"),
        ('{"arms": [{"key": "a"}, {"key": "b", "state": "gone"}]}', "$.arms[1].state"),
        ('{"arms": [{"key": "a", "recommender": {"kind": "magic"}}]}', "$.arms[0].recommender"),
        ('{"arms": [{"key": "a", "recommender": {"kind": "static"}}]}', "`items`"),
        ('{"arms": [{"key": "a", "prior": {"alpha": "1"}}]}', "$.arms[0].prior"),
        ('"policy": {"kind": "luck"}', "$.policy.kind"),
        ('"policy": {"kind": "thompson_sampling", "min_propensity": 2}', "$.policy.min_propensity"),
        ('"policy": {"kind": "epsilon_greedy", "epsilon": -0.1}', "$.policy.epsilon"),
        ('"policy": {"kind": "fixed", "probabilities": {"a": 0.9}}', "$.policy"),
        ('"reward": {"window_s": 0.5}', "$.reward.window_s"),
        ('"reward": {"window_s": 2592001}', "$.reward.window_s"),
        ('"reward": {"late_until_s": -1}', "$.reward.late_until_s"),
        ('"reward": {"missing": "no"}', "$.reward.missing"),
        ('"reward": {"aggregation": "median"}', "$.reward.aggregation"),
        ('"metrics": [{"key": "x", "level": "low"}]', "$.metrics[0].level"),
        ('"memory": {"kind": "none"}', "$.memory.kind"),
        ('"memory": {"kind": "window"}', "`window_s`"),
        ('"memory": {"kind": "window", "window_s": 0.9}', "$.memory.window_s"),
        ('"memory": {"kind": "decay", "half_life_s": 315360001}', "$.memory.half_life_s"),
        ('"memory": {"kind": "all", "window_s": 60}', "`window_s`"),
        ('"reward": {"bounds": [1]}', "$.reward.bounds"),
        ('"reward": {"bounds": [0, 1e13]}', "$.reward.bounds[1]"),
        ('"warm_start": {"split": {"a": 1}}', "`mean`"),
        ('"warm_start": {"split": {"a": 1.5}, "mean": 0.1}', "$.warm_start.split"),
        ('"warm_start": {"split": {"a": 1}, "mean": 0.1, "weight": 0.5}', "$.warm_start.weight"),
        ('"warm_start": {"split": {"a": 1}, "mean": 0.1, "deviation": 0}', "$.warm_start.deviation"),
        ('"assignment": "random"', "$.assignment"),
        ('"holdout": 1', "$.holdout"),
        ('"holdout": -0.1', "$.holdout"),
        ('"holdout": NaN', "malformed"),
        ('"overrides": [{"units": ["u"]}]', "`arm`"),
        ('"overrides": [{"arm": "a", "units": [""]}]', "$.overrides[0].units[0]"),
        ('"overrides": [{"arm": "a", "units": "u"}]', "$.overrides[0].units"),
        ('"overrides": [{"arm": "a", "share": 0}]', "$.overrides[0].share"),
        ('"overrides": [{"arm": "a", "share": 1.01}]', "$.overrides[0].share"),
        ('"overrides": [{"arm": "a", "shares": 1}]', "`shares`"),
        ('"fallback": [""]', "$.fallback[0]"),
        ('"fallback": [1]', "$.fallback[0]"),
    ],
)
def test_each_value_has_its_limits(text: str, where: str) -> None:
    """Shapes, types and limits are checked while decoding, and the message says where."""
    with pytest.raises(msgspec.MsgspecError) as caught:
        read(text if text.startswith("{") else f'{{"arms": [{{"key": "a"}}], {text}}}')
    assert where in str(caught.value)


@pytest.mark.parametrize("part", ["window_s", "late_until_s", "default"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number_is_refused_from_yaml_too(part: str, value: float) -> None:
    """A file that is not JSON can hold `.nan` and `.inf`: they are no windows, and no rewards."""
    try:
        spec = msgspec.convert({"arms": [{"key": "a"}], "reward": {part: value}}, Specification)
    except msgspec.ValidationError:
        return
    assert faults(spec)


# --- what values say together ---------------------------------------------------------------------------------------

THOUSANDS = tuple(Override(arm="a", units=tuple(f"{n}-{m}" for m in range(1000))) for n in range(11))
HALVES = {"a": 0.5, "b": 0.5}
MANY = tuple(Arm(key=f"arm-{n}") for n in range(11))
CONTRADICTIONS: dict[str, tuple[Specification, str, str]] = {
    "an arm twice": (two(arms=(Arm(key="a"), Arm(key="b"), Arm(key="a"))), "#/arms/2/key", "'a' occurs twice"),
    "control": (two(control="c"), "#/control", "'c' is no arm; the arms are a, b"),
    "no active arm": (
        two(arms=(Arm(key="a", state="draining"), Arm(key="b", state="retired"))),
        "#/arms",
        "no arm is active",
    ),
    "prior": (two(arms=(Arm(key="a"), Arm(key="b", prior={"alpha": 0.0}))), "#/arms/1/prior", "bernoulli"),
    "word of a prior": (two(arms=(Arm(key="a", prior={"mu": 1.0}),)), "#/arms/0/prior", "mu"),
    "reward model": (two(reward=Reward(model="gauss")), "#/reward/model", "'gauss' is unknown; there are bernoulli"),
    "default": (two(reward=Reward(default=0.5)), "#/reward/default", "0.5 is no bernoulli reward; it must be 0 or 1"),
    "rewards of bounds": (
        two(reward=Reward(model="bounded", bounds=(1, 5), aggregation="max")),
        "#/reward/default",
        "0 is no bounded reward; it must be a number from 1 to 5",
    ),
    "no bounds": (two(reward=Reward(model="bounded")), "#/reward/bounds", "need their bounds: [low, high]"),
    "no interval": (two(reward=Reward(model="bounded", bounds=(5, 1))), "#/reward/bounds", "got [5, 1]"),
    "bounds of others": (two(reward=Reward(model="poisson", bounds=(0, 9))), "#/reward/bounds", "take no bounds"),
    **{
        f"any of {model}": (
            two(reward=Reward(model=model, bounds=bounds, aggregation="any")),
            "#/reward/aggregation",
            f"any cannot make one {model} reward of several; choose one of {fits}",
        )
        for model, bounds, fits in [
            ("gaussian", None, "sum, mean, max, first, last"),
            ("poisson", None, "sum, max, first, last"),
            ("bounded", (0, 1), "mean, max, first, last"),
        ]
    },
    "sum of bounds": (
        two(reward=Reward(model="bounded", bounds=(0, 5), aggregation="sum")),
        "#/reward/aggregation",
        "sum cannot make one bounded reward of several; choose one of mean, max, first, last",
    ),
    "part of a count": (two(reward=Reward(model="poisson", default=0.5)), "#/reward/default", "a whole number from 0"),
    "prior of another model": (
        two(arms=(Arm(key="a", prior={"alpha": 1.0}), Arm(key="b")), reward=Reward(model="gaussian")),
        "#/arms/0/prior",
        "alpha",
    ),
    "mean without variance": (
        two(arms=(Arm(key="a"), Arm(key="b", prior={"shape": 1.0})), reward=Reward(model="gaussian")),
        "#/arms/1/prior",
        "> 1.0 - at `$.shape` (reward model gaussian)",
    ),
    "shape of a count": (
        two(arms=(Arm(key="a", prior={"shape": 0.01}), Arm(key="b")), reward=Reward(model="poisson")),
        "#/arms/0/prior",
        ">= 0.1",
    ),
    "start and prior": (
        two(arms=(Arm(key="a"), Arm(key="b", prior={"alpha": 2.0})), warm_start=WarmStart(split=HALVES, mean=0.1)),
        "#/arms/1/prior",
        "leave out one of the two",
    ),
    "start of no arm": (
        two(warm_start=WarmStart(split={"a": 0.5, "c": 0.5}, mean=0.1)),
        "#/warm_start/split",
        "'c' is no arm; the arms are a, b",
    ),
    "start of no split": (
        two(warm_start=WarmStart(split={"a": 0.5, "b": 0.4}, mean=0.1)),
        "#/warm_start",
        "must sum to 1, got 0.9",
    ),
    "start at no mean": (two(warm_start=WarmStart(split=HALVES, mean=2)), "#/warm_start", "between 0 and 1, got 2"),
    "start out of reach": (
        two(warm_start=WarmStart(split={"a": 0.99, "b": 0.01}, mean=0.001, weight=1)),
        "#/warm_start",
        "take more weight",
    ),
    "lateness": (two(reward=Reward(window_s=60, late_until_s=59)), "#/reward/late_until_s", "at least window_s"),
    "a metric twice": (two(metrics=(Metric(key="x"), Metric(key="x"))), "#/metrics/1/key", "'x' occurs twice"),
    "the reward's metric": (
        two(metrics=(Metric(key="click", aggregation="sum"),)),
        "#/metrics/0/aggregation",
        "differs from any, the reward's",
    ),
    "floor": (
        two(arms=MANY, policy=ThompsonSampling(min_propensity=0.1)),
        "#/policy/min_propensity",
        "11 arms exceeds 1",
    ),
    "missing share": (two(policy=Fixed(probabilities={"a": 1.0})), "#/policy", "lack these arms: b"),
    "strange share": (
        two(policy=Fixed(probabilities={"a": 0.5, "b": 0.25, "c": 0.25})),
        "#/policy",
        "do not exist: c",
    ),
    "override of no arm": (two(overrides=(Override(arm="c", share=0.1),)), "#/overrides/0/arm", "'c' is no arm"),
    "override of a drained arm": (
        two(arms=(Arm(key="a"), Arm(key="b", state="draining")), overrides=(Override(arm="b", share=0.1),)),
        "#/overrides/0/arm",
        "'b' is draining",
    ),
    "override of a retired arm": (
        two(arms=(Arm(key="a"), Arm(key="b", state="retired")), overrides=(Override(arm="b", units=("u",)),)),
        "#/overrides/0/arm",
        "'b' is retired",
    ),
    "override of nobody": (two(overrides=(Override(arm="a"),)), "#/overrides/0", "pins nobody"),
    "a unit twice": (two(overrides=(Override(arm="a", units=("u", "v", "u")),)), "#/overrides/0/units/2", "'u' is"),
    "a unit of two arms": (
        two(overrides=(Override(arm="a", units=("u",)), Override(arm="b", units=("v", "u")))),
        "#/overrides/1/units/1",
        "'u' is named twice",
    ),
    "shares": (
        two(overrides=(Override(arm="a", share=0.6), Override(arm="b", share=0.5))),
        "#/overrides",
        "sum to 1.1",
    ),
    "named units": (two(overrides=THOUSANDS), "#/overrides", "11,000 units are named; at most 10,000"),
}


@pytest.mark.parametrize(("spec", "pointer", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_each_contradiction_is_told_with_its_place(spec: Specification, pointer: str, words: str) -> None:
    """One fault, at the pointer of the value at fault, saying what is wrong with which value."""
    found = faults(spec)
    assert list(found) == [pointer]
    assert words in found[pointer]


def test_the_smallest_shares_may_fill_everything() -> None:
    """Ten tenths are one, though the sum of ten floats 0.1 is not."""
    check(two(overrides=(Override(arm="a", share=0.1),) * 10))
    check(two(overrides=(Override(arm="a", share=1.0),)))


def test_all_contradictions_are_told_at_once() -> None:
    """Nobody has to send a specification six times to learn six things."""
    spec = two(
        arms=(Arm(key="a", prior={"beta": -1.0}), Arm(key="a")),
        control="c",
        reward=Reward(default=7, window_s=60, late_until_s=1),
        metrics=(Metric(key="x"), Metric(key="x")),
        policy=ThompsonSampling(min_propensity=0.9),
    )
    assert set(faults(spec)) == {
        "#/arms/0/prior",
        "#/arms/1/key",
        "#/control",
        "#/reward/default",
        "#/reward/late_until_s",
        "#/metrics/1/key",
        "#/policy/min_propensity",
    }


def test_the_prior_of_a_broken_arm_is_refused_alone() -> None:
    """`prior_of` says which arm it was."""
    spec = two(arms=(Arm(key="a"), Arm(key="b", prior={"alpha": -1.0})))
    with pytest.raises(InvalidInput, match=r"#/arms/1/prior"):
        prior_of(spec, spec.arms[1])


@pytest.mark.parametrize(
    "reward",
    [
        Reward(model="gaussian", default=-2.5, aggregation="sum"),
        Reward(model="poisson", default=3, aggregation="sum"),
        Reward(model="bounded", bounds=(1, 5), default=3.5, aggregation="last"),
        Reward(model="bounded", bounds=(-1, 1)),
        Reward(model="gaussian", aggregation="max"),
    ],
)
def test_each_kind_of_reward_has_its_defaults(reward: Reward) -> None:
    """Rewards that are numbers, counts and ratings are accepted with what belongs to them."""
    spec = two(reward=reward)
    check(spec)
    assert priors_of(spec) == [spec.reward_model.prior()] * 2
    assert read(msgspec.json.encode(spec).decode()) == spec


@pytest.mark.parametrize(
    ("reward", "aggregation"),
    [
        ("{}", "any"),
        ('{"model": "gaussian"}', "sum"),
        ('{"model": "poisson", "aggregation": null}', "sum"),
        ('{"model": "bounded", "bounds": [1, 5], "default": 1}', "last"),
        ('{"model": "gaussian", "aggregation": "first"}', "first"),
    ],
)
def test_an_aggregation_that_is_not_given_suits_the_model(reward: str, aggregation: str) -> None:
    """Values of a decision become 0 or 1 for Bernoulli rewards only; the specification says what was taken."""
    spec = read(f'{{"arms": [{{"key": "a"}}], "reward": {reward}}}')
    check(spec)
    assert msgspec.to_builtins(spec)["reward"]["aggregation"] == aggregation


def test_an_arm_without_a_share_leaves_the_split_as_it_was() -> None:
    """An arm that comes later changes no other arm's prior; it starts at the split's mean, or with its own prior."""
    start = WarmStart(split={"b": 0.8, "a": 0.2}, mean=0.1, weight=50)
    first = two(warm_start=start)
    later = replace(first, arms=(Arm(key="new"), *first.arms, Arm(key="own", prior={"alpha": 3.0})))
    check(later)
    usual, *split, own = priors_of(later)
    assert split == priors_of(first)
    assert msgspec.to_builtins(usual) == pytest.approx({"alpha": 5, "beta": 45})
    assert msgspec.to_builtins(own) == {"alpha": 3, "beta": 1}
    shares = start_of(later)
    assert shares is not None
    assert shares.tolist() == [0, 0.2, 0.8, 0]


def test_all_faults_beside_a_split_are_told() -> None:
    """A wrong prior of an arm without a share hides nothing else."""
    arms = (Arm(key="a"), Arm(key="new", prior={"alpha": 0.0}))
    spec = Specification(arms=arms, control="c", warm_start=WarmStart(split={"a": 1.0}, mean=0.1))
    assert faults(spec).keys() == {"#/control", "#/arms/1/prior"}


def test_the_split_to_start_with_becomes_priors() -> None:
    """Before any outcome the arms are the best with the probabilities that the split gives them, in their order."""
    spec = two(warm_start=WarmStart(split={"b": 0.8, "a": 0.2}, mean=0.1))
    check(spec)
    posterior = spec.reward_model.posterior(ArmStatistics.zeros(2), priors_of(spec))
    np.testing.assert_allclose(probability_best(posterior), [0.2, 0.8], atol=1e-7)
    start = start_of(spec)
    assert start is not None
    assert start.tolist() == [0.2, 0.8]
    assert start_of(two()) is None


# --- what follows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window_s", "width"),
    [
        (1, 0.1),
        (4.9, 0.1),
        (5, 0.5),
        (9.99, 0.5),
        (10, 1),
        (50, 5),
        (100, 10),
        (300, 30),
        (599, 30),
        (600, 60),
        (2_592_000, 60),
    ],
)
def test_the_bucket_is_the_widest_that_is_a_tenth_of_the_window(window_s: float, width: float) -> None:
    """Wide buckets are few rows; a tenth of the window is what maturity may be off by."""
    assert bucket_width(Reward(window_s=window_s, late_until_s=31_536_000)) == width


@given(st.integers(1, 2_592_000))
def test_every_window_has_a_bucket_of_at_most_a_tenth(window_s: int) -> None:
    """For all windows of whole seconds; test_learning.py asks the same of all others."""
    assert bucket_width(Reward(window_s=float(window_s), late_until_s=31_536_000)) <= window_s / 10


@given(st.floats(1, 2_592_000), MEMORIES)
def test_a_bucket_is_at_most_a_tenth_of_the_memory(window_s: float, memory: AnyMemory) -> None:
    """Ages are known to within a tenth of what they are measured by."""
    width = bucket_width(Reward(window_s=window_s, late_until_s=31_536_000), memory)
    assert 0 < width <= min(window_s, memory.unit_s) / 10


@given(specifications(), specifications())
def test_an_epoch_changes_when_dealing_does(old: Specification, new: Specification) -> None:
    """Other metrics, overrides, fallback items and priors do not; taking over all else makes it the same epoch."""
    arms = tuple(replace(arm, prior=None) for arm in old.arms)
    alike = replace(old, arms=arms, metrics=new.metrics, overrides=new.overrides, fallback=new.fallback)
    assert not epoch_changes(old, alike)
    assert epoch_changes(old, new) == epoch_changes(new, old)
    if old.arm_keys != new.arm_keys:
        assert epoch_changes(old, new)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (Payload(value=1), Payload(value=1), True),
        (Payload(value=1), Payload(value=1.0), True),
        (Payload(value=1), Payload(value=True), False),
        (Payload(value=[0]), Payload(value=[False]), False),
        (Payload(value={"x": {"y": 1}}), Payload(value={"x": {"y": True}}), False),
        (Payload(value={"x": 1, "y": 2}), Payload(value={"y": 2, "x": 1}), True),
        (Payload(value="1"), Payload(value=1), False),
        (Payload(value=False), Payload(), False),
        (Payload(), Popular(), False),
    ],
)
def test_parts_are_the_same_when_their_json_is(one: object, other: object, equal: Any) -> None:
    """Python takes true for 1; JSON, and whoever reads a payload, does not."""
    assert same(one, other) is equal
