"""Runs wrk, and writes its scripts."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KEY = "benchmark-key-with-every-scope"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_HEADER = f"""
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer {KEY}"
wrk.headers["Content-Type"] = "application/json"
"""


@dataclass(frozen=True)
class Run:
    """What one run measured: requests a second, and quantiles of the latency in seconds."""

    rate: float
    p50: float
    p99: float


def installed() -> bool:
    """Whether wrk is here."""
    return shutil.which("wrk") is not None


def constant(body: object, *, path: str = "/v1/recommendations", delay_ms: float = 0.0) -> str:
    """A script that posts the same body again and again; `delay_ms` lies between a connection's requests."""
    pause = f"function delay() return {delay_ms:.3f} end\n" if delay_ms else ""
    return f"{_HEADER}wrk.path = {json.dumps(path)}\nwrk.body = {json.dumps(json.dumps(body))}\n{pause}"


def feedback(decision_ids: Sequence[str], *, events: int) -> str:
    """A script that posts new events about these decisions, so many a request."""
    ids = ",".join(f'"{i}"' for i in decision_ids)
    single = '{"decision_id":"%s","value":1,"event_id":"%s"}'
    return (
        _HEADER
        + f"""
wrk.path = "/v1/feedback"
local ids = {{{ids}}}
local run, n = tostring(os.time()) .. tostring(os.clock()), 0
local function event()
  n = n + 1
  return string.format('{single}', ids[n % #ids + 1], run .. n)
end
function request()
  if {events} == 1 then return wrk.format(nil, nil, nil, event()) end
  local many = {{}}
  for i = 1, {events} do many[i] = event() end
  return wrk.format(nil, nil, nil, '{{"events":[' .. table.concat(many, ",") .. ']}}')
end
"""
    )


def measure(url: str, script: str, folder: Path, *, connections: int, seconds: int) -> Run:
    """One run.

    Raises:
        RuntimeError: the server answered errors.
    """
    path = folder / "script.lua"
    path.write_text(script)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", str(path), url]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"{url} answered errors:\n{out}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    quantile = {q: re.search(rf"{q}%\s+([\d.]+)(us|ms|s)", out) for q in ("50", "99")}
    seconds_of = {q: float(m[1]) * _UNITS[m[2]] if m else float("nan") for q, m in quantile.items()}
    return Run(float(rate[1]) if rate else 0.0, seconds_of["50"], seconds_of["99"])
