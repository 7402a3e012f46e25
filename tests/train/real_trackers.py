"""Tell the real Weights & Biases, MLflow and trackio of a training, read it back from what they wrote, print JSON.

Run by test_trackers.py in an environment that holds the three and neither torch nor peft, in an empty folder.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preceptor.train.course import Check, Moment
from preceptor.train.trackers import Place, Trackers

PLACE = Place(Path("tracking"), "pubmedqa", "minilm-free-none-seed-1", {"rank": 8})


def tell() -> None:
    told = Trackers(["wandb", "mlflow", "trackio"], PLACE, sys.exit)
    for step in (1, 2, 3):
        told.log(Moment(step, 3, 1.0 / step, 1e-3, 120.0, 5.0, Check(2, 0.9, 0.5, 0.4)))
    told.close()


def from_mlflow() -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri="sqlite:///tracking/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name(PLACE.project).experiment_id])
    named = {name: client.get_metric_history(run.info.run_id, name) for name in ("train/loss", "validation/accuracy")}
    return {
        "name": run.info.run_name,
        "state": run.info.status,
        "rank": run.data.params["rank"],
        **{name: [(point.step, point.value) for point in points] for name, points in named.items()},
    }


def from_wandb() -> dict[str, Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = Path("tracking").rglob("*.wandb")
    found: dict[str, Any] = {"train/loss": [], "validation/accuracy": [], "state": "open"}
    for payload in records(file.read_bytes()):
        record = Record()
        record.ParseFromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["name"] = record.run.display_name
            found["rank"] = {item.key: item.value_json for item in record.run.config.update}.get("rank")
        elif kind == "exit":
            found["state"] = "FINISHED" if record.exit.exit_code == 0 else "failed"
        elif kind == "history":
            values = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
            }
            for name in ("train/loss", "validation/accuracy"):
                if name in values:
                    found[name].append((values["_step"], values[name]))
    return found


def records(data: bytes, header: int = 7) -> Iterator[bytes]:
    """The records of a W&B file of one block: a file header, then checksum, length and kind before each."""
    place = header
    while place + 7 <= len(data):
        length, kind = struct.unpack_from("<HB", data, place + 4)
        assert kind == 1, "a record that is cut in pieces"
        yield data[place + 7 : place + 7 + length]
        place += 7 + length


def from_trackio() -> dict[str, Any]:
    from trackio.sqlite_storage import SQLiteStorage

    (name,) = SQLiteStorage.get_runs(PLACE.project)
    rows = SQLiteStorage.get_logs(PLACE.project, name)
    wanted = ("train/loss", "validation/accuracy")
    return {"name": name, **{key: [(r["step"], r[key]) for r in rows if key in r] for key in wanted}}


if __name__ == "__main__":
    tell()
    sys.stdout.write(json.dumps({"mlflow": from_mlflow(), "wandb": from_wandb(), "trackio": from_trackio()}))
