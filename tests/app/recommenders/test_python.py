"""Arms answered by a Python function that the service's settings allow."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.recommenders import Answerer, Catalogue, Item, Python, PythonFunctions, RecommenderFailed, Sources
from tests.app.recommenders.conftest import Ask

SHOP = """
def rank(unit, context, k, *, season="summer"):
    context["mine"] = True
    return [(f"{unit}-{season}", 0.5), ["b", None], ("b", 2), "c", "d"][: k + 1]

def lazy(unit, context, k):
    yield "a"
    yield "a"
    yield "b"

class Model:
    def best(self, unit, context, k):
        return ["best"]

model = Model()
number = 5
def fails(unit, context, k): raise KeyError("no model")
def returns(unit, context, k): return context["returned"]
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that can be imported while the test lasts, and an installed package whose entry point leads to it."""
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SHOP)
    (tmp_path / f"{name}_broken.py").write_text("raise SystemExit('licence expired')")
    package = tmp_path / f"{name}-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (package / "entry_points.txt").write_text(f"[croupier.recommenders]\n{name}-best = {name}:model.best\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return name


def prepared(target: str, catalogue: Catalogue | None = None, **parameters: Any) -> Answerer:
    """What answers for an arm with this target, which is allowed."""
    sources = Sources(functions=PythonFunctions([target]), catalogue=catalogue or Catalogue.build([], version=0))
    return Python(target=target, **parameters).prepare(sources)


def test_a_function_answers_with_ids_and_pairs(shop: str, ask: Ask) -> None:
    """It gets unit, context, k and its parameters; what it returns is cut to k and rid of repetitions."""
    answer = prepared(f"{shop}:rank", parameters={"season": "winter"})(ask(k=3))
    assert answer.items == (Item("u-winter", 0.5), Item("b"), Item("c"))
    assert [item.item_id for item in prepared(f"{shop}:lazy")(ask()).items] == ["a", "b"]


def test_the_context_that_is_logged_stays_as_it_came(shop: str, ask: Ask) -> None:
    """A function may write into what it is given: that is a copy."""
    query = ask({"page": 1})
    prepared(f"{shop}:rank")(query)
    assert query.context == {"page": 1}


def test_entry_points_and_methods_are_targets(shop: str, ask: Ask) -> None:
    """A package may offer its functions under a name; a target may lie deeper in its module."""
    for target in (f"{shop}-best", f"{shop}:model.best"):
        assert prepared(target)(ask()).items == (Item("best"),)


def test_only_allowed_targets_are_imported(shop: str, ask: Ask) -> None:
    """Without the setting's word nothing is imported, whatever a specification says."""
    for functions in (PythonFunctions(), PythonFunctions.from_setting(None), PythonFunctions([f"{shop}:other"])):
        recommender = Python(target=f"{shop}:rank")
        assert "CROUPIER_PYTHON_RECOMMENDERS" in str(recommender.obstacle(Sources(functions=functions)))
        with pytest.raises(RecommenderFailed, match="CROUPIER_PYTHON_RECOMMENDERS"):
            recommender.prepare(Sources(functions=functions))(ask())
    assert shop not in sys.modules
    allowed = PythonFunctions.from_setting(f" x:y , {shop}:rank,")
    assert Python(target=f"{shop}:rank").obstacle(Sources(functions=allowed)) is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (lambda shop: f"{shop}:absent", "AttributeError"),
        (lambda shop: f"{shop}:number", "is a int, not a function"),
        (lambda shop: f"{shop}_absent:rank", "ModuleNotFoundError"),
        (lambda shop: f"{shop}_broken:rank", "licence expired"),
        (lambda shop: f"{shop}:", "AttributeError"),
        (lambda _: ":rank", "ValueError"),
        (lambda _: "no-such-point", "no installed package has such an entry point"),
    ],
)
def test_what_cannot_be_imported_is_an_obstacle(
    shop: str, ask: Ask, target: Callable[[str], str], expected: str
) -> None:
    """It is told when the arm is made, and fails each query with the same reason."""
    functions = PythonFunctions([target(shop)])
    recommender = Python(target=target(shop))
    found = recommender.obstacle(Sources(functions=functions))
    assert found is not None
    assert expected in found
    with pytest.raises(RecommenderFailed) as failed:
        recommender.prepare(Sources(functions=functions))(ask())
    assert failed.value.reason == found


def test_an_exception_is_a_failure_with_its_name(shop: str, ask: Ask) -> None:
    """What the function raises does not become an error of the service."""
    with pytest.raises(RecommenderFailed, match=r"raised KeyError: 'no model'"):
        prepared(f"{shop}:fails")(ask())


@pytest.mark.parametrize(
    "returned",
    [None, 5, "abc", {"a": 1}, b"ab", [], [1], [None], [("a",)], [("a", "high")], [("a", float("nan"))], [("a", 1, 2)],
     [""], ["x" * 257], [("\0", 1.0)], [object()]],
)  # fmt: skip
def test_a_wrong_return_value_is_a_failure(shop: str, ask: Ask, returned: object) -> None:
    """Neither does what it returns."""
    with pytest.raises(RecommenderFailed):
        prepared(f"{shop}:returns")(ask({"returned": returned}))


def test_unknown_items_are_dropped_unless_they_are_wanted(shop: str, ask: Ask, catalogue: Catalogue) -> None:
    """As with model servers."""
    query = ask({"returned": ["x", "a"]})
    assert prepared(f"{shop}:returns", catalogue)(query).items == (Item("a"),)
    assert prepared(f"{shop}:returns", catalogue, unknown_items="keep")(query).items == (Item("x"), Item("a"))
