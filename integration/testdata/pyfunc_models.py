"""Logs the models of TestPyFunc to the registry of MLFLOW_TRACKING_URI, one for
each argument, and prints the name of each as it is registered."""

import json
import os
import sys
import time

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from mlflow.types import DataType, ParamSchema, ParamSpec


def iris():
    from sklearn.datasets import load_iris

    data = load_iris(as_frame=True)
    return data.data.rename(columns=lambda c: c.removesuffix(" (cm)").replace(" ", "_")), data.target


def sklearn(**registered):
    from sklearn.ensemble import RandomForestRegressor

    x, y = iris()
    model = RandomForestRegressor(n_estimators=20, random_state=7).fit(x, y)
    mlflow.sklearn.log_model(
        model, name="model", signature=infer_signature(x, model.predict(x)), input_example=x[:3], serialization_format="cloudpickle", **registered
    )


def pipeline(**registered):
    """Texts, a column that may be absent, and labels for answers."""
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(7)
    x = pd.DataFrame({"colour": rng.choice(["red", "blue", "grün"], 200), "size": rng.normal(size=200), "count": rng.integers(0, 9, 200)})
    y = np.where((x["colour"] == "red") & (x["size"] > 0) | (x["count"] > 6), "yes", "no")
    model = make_pipeline(
        ColumnTransformer([("text", OneHotEncoder(handle_unknown="ignore"), ["colour"])], remainder="passthrough"), LogisticRegression()
    ).fit(x, y)
    mlflow.sklearn.log_model(model, name="model", signature=infer_signature(x, model.predict(x)), serialization_format="cloudpickle", **registered)


class Custom(mlflow.pyfunc.PythonModel):
    """Does what its text says."""

    def __init__(self):
        self.held = []

    def predict(self, context, model_input, params=None):
        for text in model_input["text"]:
            if text == "crash":
                os.abort()
            if text == "hang":
                time.sleep(3600)
            if text == "leak":
                self.held.append(bytearray(os.urandom(1)) * (400 << 20))
            if text == "fail":
                raise ValueError("this text is not for me")
            if text == "print":
                print("a line of the model")
        return pd.DataFrame(
            {"length": [len(t) for t in model_input["text"]], "scaled": model_input["x"] * params["factor"], "pid": os.getpid() if params["pid"] else 0}
        )


def custom(**registered):
    x = pd.DataFrame({"text": ["a", "bc"], "x": [1.5, 2.5]})
    params = {"factor": 2.0, "pid": False}
    signature = infer_signature(x, Custom().predict(None, x, params), params)
    mlflow.pyfunc.log_model(name="model", python_model=Custom(), signature=signature, input_example=x, **registered)


class Mean(mlflow.pyfunc.PythonModel):
    """Its answer to a row depends on the others."""

    def predict(self, context, model_input, params=None):
        return model_input.to_numpy(float) - model_input.to_numpy(float).mean()


def mean(**registered):
    mlflow.pyfunc.log_model(name="model", python_model=Mean(), **registered)


def torch(**registered):
    import types

    import torch

    try:
        import torch.export
    except ImportError:  # of old versions, which MLflow imports but does not need for pickles
        sys.modules["torch.export"] = types.ModuleType("torch.export")
        sys.modules["torch.export"].Dim = None
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    y = model(torch.from_numpy(x)).detach().numpy()
    mlflow.pytorch.log_model(model, name="model", signature=infer_signature(x, y), input_example=x, serialization_format="pickle", **registered)


names = {}
for kind in sys.argv[1:]:
    names[kind] = f"{kind}-{os.getpid()}-{time.time_ns()}"
    with mlflow.start_run():
        globals()[kind](registered_model_name=names[kind])
    mlflow.MlflowClient().set_registered_model_alias(names[kind], "champion", 1)
json.dump(names, sys.stdout)
