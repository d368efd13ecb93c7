"""The catalogue over HTTP and from files: whole or not at all, with each wrong line told."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.talking import problem
from tests.running import ADMIN_KEY, Answer, Api, Service, free_port

CSV, NDJSON = "text/csv; charset=utf-8", "application/x-ndjson"


def put(api: Api, text: str, kind: str) -> Answer:
    """Sends a file's content."""
    return api.call("PUT", "/v1/items", raw=text.encode(), headers={"Content-Type": kind})


def test_files_of_both_kinds_are_loaded(api: Api, key: str) -> None:
    """What was sent as lines is read back as JSON."""
    table = f"item_id,title,features,popularity\n{key}/1,One,0.5 -2,3\n{key}/2,,,\n"
    assert put(api, table, CSV).ok()["items"] == 2
    assert put(api, f'{{"item_id":"{key}/2","category":"c"}}\n', NDJSON).ok()["items"] == 1
    assert api.get(f"/v1/items/{key}/1").ok() == {
        "item_id": f"{key}/1", "title": "One", "category": None, "features": [0.5, -2.0], "popularity": 3.0,
    }  # fmt: skip
    assert api.get(f"/v1/items/{key}%2F2").ok()["category"] == "c"


@pytest.mark.parametrize(
    ("kind", "text", "faults"),
    [
        (CSV, "item_id,popularity\n{0}a,1\n{0}b,x\n{0}c,-1\n", {"#/items/1": "line 3: ", "#/items/2": "line 4: "}),
        (CSV, "item_id,colour\n{0}a,red\n", {"#/items/0": "line 1: 'colour' is no column"}),
        (CSV, "item_id\n{0}a\n{0}a\n", {"#/items/0/item_id": "line 2: ", "#/items/1/item_id": "line 3: "}),
        (NDJSON, '{{"item_id":"{0}a"}}\n{{"item_id":5}}\n', {"#/items/1": "line 2: Expected `str`, got `int`"}),
        (CSV, "item_id\n" + "{0}a\n" * 10_001, {"#": "10001 items; send at most 10000 at once"}),
    ],
)
def test_one_wrong_line_refuses_the_request(api: Api, key: str, kind: str, text: str, faults: dict[str, str]) -> None:
    """Each is told by its number, and none of the others is loaded."""
    found = problem(put(api, text.format(key), kind), 422)
    told = {fault["pointer"]: fault["detail"] for fault in found["errors"]}
    assert told.keys() == faults.keys()
    assert all(told[pointer].startswith(start) for pointer, start in faults.items())
    problem(api.get(f"/v1/items/{key}a"), 404)


def test_a_deleted_item_is_gone(api: Api, key: str) -> None:
    """It is not found afterwards, nor deleted again."""
    api.put("/v1/items", {"items": [{"item_id": key}]}).ok()
    version = api.call("DELETE", f"/v1/items/{key}").ok()["catalogue_version"]
    problem(api.get(f"/v1/items/{key}"), 404)
    problem(api.call("DELETE", f"/v1/items/{key}"), 404)
    assert api.put("/v1/items", {"items": [{"item_id": key}]}).ok()["catalogue_version"] == version + 1


def load(service: Service, path: Path, **more: Any) -> tuple[int, str]:
    """Runs `croupier items load`; exit status and all that it said."""
    url = more.get("url", service.url)
    ran = service.command("items", "load", str(path), "--url", url, "--key", more.get("key", ADMIN_KEY))
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize("ending", [".ndjson", ".jsonl", ".csv", ".csv.gz", ".ndjson.gz"])
def test_the_command_loads_files(service: Service, api: Api, key: str, tmp_path: Path, ending: str) -> None:
    """In pieces, packed or not, and again without harm."""
    numbers = range(12_000)
    table = "item_id,title\n" + "".join(f"{key}{i},{i}\n" for i in numbers)
    objects = "".join(json.dumps({"item_id": f"{key}{i}", "title": str(i)}) + "\n" for i in numbers)
    content = (table if ".csv" in ending else objects).encode()
    path = tmp_path / f"items{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    for _ in range(2):
        status, said = load(service, path)
        assert (status, "12000 items are in the catalogue" in said) == (0, True), said
    assert api.get(f"/v1/items/{key}11999").ok()["title"] == "11999"


def test_the_command_checks_the_file_first(service: Service, api: Api, key: str, tmp_path: Path) -> None:
    """Wrong lines, repeated items and broken archives are told by line, and nothing is loaded."""
    path = tmp_path / "items.csv"
    path.write_text(f"item_id,popularity\n{key}a,1\n{key}b,x\n{key}a,2\n")
    status, said = load(service, path)
    assert status == 1
    assert "items.csv, line 3: Expected `float`, got `str`" in said
    assert f"items.csv, line 4: item '{key}a' stands in line 2 already" in said
    problem(api.get(f"/v1/items/{key}a"), 404)
    broken = tmp_path / "items.ndjson.gz"
    broken.write_bytes(gzip.compress(b'{"item_id":"a"}\n' * 1000)[:-10])
    status, said = load(service, broken)
    assert (status, "cannot be read" in said or "stands in line" in said) == (1, True), said
    other = tmp_path / "items.txt"
    other.write_text("")
    assert load(service, other)[0] == 1


def test_the_command_tells_refusal_from_absence(service: Service, tmp_path: Path) -> None:
    """Exit status 1: the key is wrong. 3: nobody answers there, which may change."""
    path = tmp_path / "items.ndjson"
    path.write_text('{"item_id":"x"}\n')
    status, said = load(service, path, key="wrong")
    assert (status, "401" in said) == (1, True), said
    status, said = load(service, path, url=f"http://127.0.0.1:{free_port()}")
    assert (status, "Run this again" in said) == (3, True), said
