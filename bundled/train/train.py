"""Trains the forecaster that Millrace carries, and writes it as MLflow logs a model.

    python3 -m venv .venv
    .venv/bin/pip install -r requirements.txt
    .venv/bin/pip install --no-deps eemeter==3.1.1   # for its data alone
    .venv/bin/python train.py                        # writes ../forecaster, ../windows.json and ../scores.json

The data are the hourly air temperatures that the package eemeter ships. The
periods of training, validation and test follow each other, with a gap of a window
between them, so that no value of one is seen in another.
"""

import argparse
import gzip
import importlib.metadata
import json
import os
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

# Neither library reports its use to anyone. They read this when they are imported.
os.environ.update(ORT_DISABLE_TELEMETRY="1", MLFLOW_DISABLE_TELEMETRY="true")

import jax
import jax.numpy as jnp
import mlflow
import numpy as np
import onnx
import onnxruntime as ort
import optax
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from onnx import TensorProto, helper, numpy_helper

WINDOW, HORIZON, HIDDEN = 48, 12, 48
VALID_FROM, TEST_FROM = "2017-03-01", "2017-07-01"
EPOCHS, BATCH, PEAK_RATE, SEED = 60, 128, 4e-3, 20
SCALE = 10.0  # degrees by which errors are divided in the loss
FLOOR = 0.5  # degrees added to a window's deviation, so that a flat one divides by no zero
SAMPLES = 64  # windows of the test period that are kept as examples
MAX_BYTES = 1 << 20


def read():
    """Returns the times and the temperatures, in degrees Fahrenheit, hour by hour."""
    path = importlib.metadata.distribution("eemeter").locate_file("eemeter/samples/il-tempF.csv.gz")
    with gzip.open(path, "rt") as f:
        next(f)
        rows = [line.strip().split(",") for line in f]
    times = np.array([np.datetime64(datetime.fromisoformat(t).replace(tzinfo=None), "h") for t, _ in rows])
    return times, np.array([float(v) if v else np.nan for _, v in rows], np.float32)


def windows(times, values, begin, end):
    """Returns the windows that lie in [begin, end) with their continuations and the hour each window ends at."""
    pick = (times >= np.datetime64(begin)) & (times < np.datetime64(end))
    t, v = times[pick], values[pick]
    span = WINDOW + HORIZON
    at = np.arange(len(v) - span + 1)
    whole = v[at[:, None] + np.arange(span)]
    # A span is taken when it has every hour and no hour is missing from the record.
    good = ~np.isnan(whole).any(axis=1) & ((t[at + span - 1] - t[at]) == np.timedelta64(span - 1, "h"))
    at = at[good]
    return whole[good, :WINDOW], whole[good, WINDOW:], t[at + WINDOW - 1]


def initial(key):
    w, r, d = jax.random.split(key, 3)
    bound = 1 / np.sqrt(HIDDEN)
    return {
        "W": jax.random.uniform(w, (3 * HIDDEN, 1), minval=-bound, maxval=bound),
        "R": jax.random.uniform(r, (3 * HIDDEN, HIDDEN), minval=-bound, maxval=bound),
        "Wb": jnp.zeros(3 * HIDDEN),
        "Rb": jnp.zeros(3 * HIDDEN),
        "D": jax.random.normal(d, (HIDDEN, HORIZON)) * 0.01,
        "Db": jnp.zeros(HORIZON),
    }


def forecast(p, window):
    """The model: each window is normalised by its own mean and deviation, and the head adds to its last value."""
    mean = window.mean(axis=1, keepdims=True)
    spread = jnp.sqrt(((window - mean) ** 2).mean(axis=1, keepdims=True)) + FLOOR
    x = (window - mean) / spread

    def step(h, x_t):  # the GRU of ONNX with linear_before_reset, gates in the order z, r, h
        a = x_t[:, None] @ p["W"].T + p["Wb"]
        b = h @ p["R"].T + p["Rb"]
        az, ar, ah = jnp.split(a, 3, axis=1)
        bz, br, bh = jnp.split(b, 3, axis=1)
        z, r = jax.nn.sigmoid(az + bz), jax.nn.sigmoid(ar + br)
        return (1 - z) * jnp.tanh(ah + r * bh) + z * h, None

    h, _ = jax.lax.scan(step, jnp.zeros((window.shape[0], HIDDEN)), x.T)
    return (x[:, -1:] + h @ p["D"] + p["Db"]) * spread + mean


def train(fit, valid):
    steps = len(fit[0]) // BATCH
    rate = optax.warmup_cosine_decay_schedule(1e-4, PEAK_RATE, 2 * steps, EPOCHS * steps, 1e-5)
    opt = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-3))
    params = initial(jax.random.PRNGKey(SEED))
    state = opt.init(params)

    def loss(p, x, y):
        return optax.huber_loss(forecast(p, x) / SCALE, y / SCALE, delta=0.5).mean()

    @jax.jit
    def update(p, s, x, y):
        g = jax.grad(loss)(p, x, y)
        u, s = opt.update(g, s, p)
        return optax.apply_updates(p, u), s

    run = jax.jit(forecast)
    rng = np.random.default_rng(SEED)
    best, best_mae = params, np.inf
    for epoch in range(EPOCHS):
        order = rng.permutation(len(fit[0]))
        for i in range(steps):
            rows = order[i * BATCH : (i + 1) * BATCH]
            params, state = update(params, state, fit[0][rows], fit[1][rows])
        mae = float(np.abs(np.asarray(run(params, valid[0])) - valid[1]).mean())
        if mae < best_mae:
            best, best_mae = params, mae
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: validation MAE {mae:.3f} (best {best_mae:.3f})", flush=True)
    return jax.tree.map(np.asarray, best)


def to_onnx(p):
    def const(name, value, dtype=np.float32):
        return numpy_helper.from_array(np.asarray(value, dtype), name)

    node = helper.make_node
    nodes = [
        node("ReduceMean", ["window", "rows"], ["mean"], keepdims=1),
        node("Sub", ["window", "mean"], ["centred"]),
        node("Mul", ["centred", "centred"], ["squares"]),
        node("ReduceMean", ["squares", "rows"], ["variance"], keepdims=1),
        node("Sqrt", ["variance"], ["deviation"]),
        node("Add", ["deviation", "floor"], ["spread"]),
        node("Div", ["centred", "spread"], ["x"]),
        node("Transpose", ["x"], ["steps"], perm=[1, 0]),
        node("Unsqueeze", ["steps", "features"], ["sequence"]),
        node("GRU", ["sequence", "W", "R", "B"], ["", "state"], hidden_size=HIDDEN, linear_before_reset=1),
        node("Squeeze", ["state", "direction"], ["h"]),
        node("Gemm", ["h", "D", "Db"], ["change"]),
        node("Gather", ["x", "last"], ["now"], axis=1),
        node("Add", ["change", "now"], ["normalised"]),
        node("Mul", ["normalised", "spread"], ["scaled"]),
        node("Add", ["scaled", "mean"], ["forecast"]),
    ]
    constants = [
        const("rows", [1], np.int64),
        const("features", [2], np.int64),
        const("direction", [0], np.int64),
        const("last", [WINDOW - 1], np.int64),
        const("floor", FLOOR),
        const("W", p["W"][None]),
        const("R", p["R"][None]),
        const("B", np.concatenate([p["Wb"], p["Rb"]])[None]),
        const("D", p["D"]),
        const("Db", p["Db"]),
    ]
    graph = helper.make_graph(
        nodes,
        "forecaster",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", WINDOW])],
        [helper.make_tensor_value_info("forecast", TensorProto.FLOAT, ["n", HORIZON])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="millrace")
    onnx.checker.check_model(model, full_check=True)
    return model


def scores(predicted, actual):
    e = predicted - actual
    return {
        "mae": round(float(np.abs(e).mean()), 3),
        "rmse": round(float(np.sqrt((e**2).mean())), 3),
        "mae_by_hour": [round(float(m), 2) for m in np.abs(e).mean(axis=0)],
    }


def judge(session, x, y):
    table = {
        "forecaster": scores(session.run(None, {"window": x})[0], y),
        "last value": scores(np.repeat(x[:, -1:], HORIZON, axis=1), y),
        "a day before": scores(x[:, WINDOW - 24 : WINDOW - 24 + HORIZON], y),
        "last value + a day before's change": scores(x[:, -1:] + x[:, WINDOW - 24 : WINDOW - 24 + HORIZON] - x[:, WINDOW - 25 : WINDOW - 24], y),
    }
    print(f"\n{'test period, degrees Fahrenheit':<36}{'MAE':>8}{'RMSE':>8}{'h+1':>7}{'h+6':>7}{'h+12':>7}")
    for name, s in table.items():
        hours = s["mae_by_hour"]
        print(f"{name:<36}{s['mae']:>8.3f}{s['rmse']:>8.3f}{hours[0]:>7.2f}{hours[5]:>7.2f}{hours[11]:>7.2f}")
    return table


def save(model, example, folder):
    """Has MLflow write the folder; the two fields that would differ from run to run are fixed."""
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, WINDOW), "window")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, HORIZON), "forecast")]),
    )
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / "forecaster"
        mlflow.onnx.save_model(
            model,
            str(out),
            mlflow_model=Model(utc_time_created="2026-11-24 00:00:00.000000", model_uuid="6d696c6c726163652d666f7265636173"),
            signature=signature,
            input_example={"window": example},
            pip_requirements=[f"mlflow=={mlflow.__version__}", f"numpy=={np.__version__}", f"onnx=={onnx.__version__}", f"onnxruntime=={ort.__version__}"],
            onnx_execution_providers=["CPUExecutionProvider"],
            save_as_external_data=False,
        )
        size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
        assert size < MAX_BYTES, f"the folder has {size} bytes"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(out, folder)
    print(f"\n{folder}: {size} bytes")
    # What was written answers through MLflow's own loader.
    again = mlflow.pyfunc.load_model(str(folder)).predict({"window": example})["forecast"]
    assert again.shape == (len(example), HORIZON)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent)
    out = parser.parse_args().out

    times, values = read()
    gap = np.timedelta64(WINDOW, "h")
    end = times[-1] + np.timedelta64(1, "h")
    fit = windows(times, values, times[0], np.datetime64(VALID_FROM, "h") - gap)
    valid = windows(times, values, VALID_FROM, np.datetime64(TEST_FROM, "h") - gap)
    test = windows(times, values, TEST_FROM, end)
    print(f"{len(values)} hours from {times[0]} to {times[-1]}; windows: {len(fit[0])} train, {len(valid[0])} validation, {len(test[0])} test")

    params = train(fit, valid)
    model = to_onnx(params)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    x, y, ends = test
    worst = float(np.abs(session.run(None, {"window": x})[0] - np.asarray(jax.jit(forecast)(params, x))).max())
    print(f"JAX and ONNX Runtime differ by at most {worst:.1e} degrees on the test period")
    assert worst < 1e-3

    table = judge(session, x, y)
    best = min(s["mae"] for name, s in table.items() if name != "forecaster")
    assert table["forecaster"]["mae"] < best, "the forecaster has to be better than every naive forecast"

    save(model, x[:1], out / "forecaster")
    picks = np.linspace(0, len(x) - 1, SAMPLES).astype(int)
    kept = [{"until": str(ends[i]), "window": x[i].tolist(), "next": y[i].tolist()} for i in picks]
    for k in kept:
        k["window"] = [round(v, 2) for v in k["window"]]
        k["next"] = [round(v, 2) for v in k["next"]]
    (out / "windows.json").write_text("[\n" + ",\n".join(json.dumps(k) for k in kept) + "\n]\n")
    report = {
        "unit": "degrees Fahrenheit",
        "window_hours": WINDOW,
        "horizon_hours": HORIZON,
        "test": {"from": TEST_FROM, "until": str(times[-1]), "windows": len(x)},
        "scores": table,
    }
    (out / "scores.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
