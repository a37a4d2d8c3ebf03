"""Saves models of scikit-learn, LightGBM and XGBoost below a folder, and serves
every model that is there by MLflow's own scoring server, each below its name.

    python parity.py FOLDER HOST PORT
"""

import pathlib
import sys

import fastapi
import lightgbm as lgb
import mlflow
import numpy as np
import pandas as pd
import uvicorn
import xgboost as xgb
from mlflow.models import infer_signature
from mlflow.pyfunc import scoring_server
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

folder, host, port = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
rng = np.random.default_rng(7)
N = 400
a, b, n = rng.uniform(0, 7, N), rng.uniform(0, 7, N), rng.integers(-9, 10, N)  # as the test draws them

x = pd.DataFrame({"colour": rng.choice(["red", "blue", "grün"], N), "size": a, "count": n})
y = np.where((x["colour"] == "red") & (a > 3) | (n > 4), "yes", "no")
texts = ColumnTransformer([("text", OneHotEncoder(handle_unknown="ignore"), ["colour"])], remainder="passthrough")
model = make_pipeline(texts, LogisticRegression()).fit(x, y)
mlflow.sklearn.save_model(model, folder / "sklearn", signature=infer_signature(x, model.predict(x)), serialization_format="cloudpickle")

x = pd.DataFrame({"a": a, "b": b, "n": n})
y = a * 2 + np.sin(b * 3) + (n > 4)
booster = lgb.train({"objective": "regression", "num_leaves": 15, "seed": 3, "verbose": -1, "num_threads": 1}, lgb.Dataset(x, y), 20)
mlflow.lightgbm.save_model(booster, folder / "lightgbm", signature=infer_signature(x, booster.predict(x)))

x = pd.DataFrame({"a": a, "b": np.where(rng.random(N) < 0.2, np.nan, b), "c": n * 1.5})
labels = (a > 3).astype(int) + (b > 4)
model = xgb.XGBClassifier(n_estimators=20, max_depth=4, random_state=3, n_jobs=1).fit(x, labels).get_booster()
mlflow.xgboost.save_model(model, folder / "xgboost", signature=infer_signature(x, model.predict(xgb.DMatrix(x))))

app = fastapi.FastAPI()
for path in sorted(folder.iterdir()):
    app.mount("/" + path.name, scoring_server.init(mlflow.pyfunc.load_model(str(path))))
uvicorn.run(app, host=host, port=port, log_level="warning")
