"""Trains LightGBM and XGBoost models over what they can be, and writes of each
its file, inputs, and what the library itself predicts.

    python trees.py OUT [--rows N] [--rounds N] [--only WORD]

OUT/<case>/case.json: {"library", "class", "file", "rows", "expected"}: a row is
a list of numbers, null is NaN, and "inf" and "-inf" are words. expected has a
number or a list a row.
"""

import argparse
import json
import math
import pathlib
import warnings

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from sklearn import datasets

warnings.filterwarnings("ignore")
parser = argparse.ArgumentParser()
parser.add_argument("out", type=pathlib.Path)
parser.add_argument("--rows", type=int, default=0, help="rows of each case; 0 is all")
parser.add_argument("--rounds", type=int, default=30)
parser.add_argument("--only", default="", help="a part of the names of the cases")
args = parser.parse_args()

rng = np.random.default_rng(7)


def plain(x):
    if isinstance(x, list):
        return [plain(v) for v in x]
    if isinstance(x, float):
        if math.isnan(x):
            return None
        if math.isinf(x):
            return "inf" if x > 0 else "-inf"
    return x


def write(name, library, file, save, rows, predict, cls=""):
    """save writes the model to a path; predict loads it and answers the rows."""
    if args.only not in name:
        return
    folder = args.out / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    save(path)
    if args.rows:
        rows = rows[-args.rows :]
    expected = np.asarray(predict(path, rows))
    assert expected.shape[0] == len(rows), (name, expected.shape)
    case = {"library": library, "class": cls, "file": file, "rows": plain(rows.tolist()), "expected": plain(expected.tolist())}
    (folder / "case.json").write_text(json.dumps(case, separators=(",", ":")) + "\n")


# Data. What is generated has every value that is something special at its end,
# so that the fewest rows have them too.
bc = datasets.load_breast_cancer()
di = datasets.load_diabetes()
ir = datasets.load_iris()
dg = datasets.load_digits()


def shuffled(X, y):
    order = np.random.default_rng(1).permutation(len(X))
    return X[order], y[order]


BX, By = shuffled(bc.data, bc.target)
DX, Dy = shuffled(di.data, di.target)
IX, Iy = shuffled(ir.data, ir.target)
GX, Gy = shuffled(dg.data, dg.target)

N = 2000
MX = rng.normal(size=(N, 6))
MX[rng.random(MX.shape) < 0.15] = np.nan
MX[rng.random(MX.shape) < 0.15] = 0
My = np.nan_to_num(MX[:, 0]) * 2 + np.isnan(MX[:, 1]) - (MX[:, 2] == 0) + rng.normal(size=N) * 0.1
SPECIAL = [np.nan, 0.0, -0.0, 1e-36, -1e-36, 2e-35, -2e-35, 1e-310, np.inf, -np.inf, 1e300, -1e300, 3.4e38]
MS = MX.copy()
for i, v in enumerate(SPECIAL):
    MS[-len(SPECIAL) + i, :] = v
    for f in range(6):
        MS[-len(SPECIAL) * (f + 2) + i] = MX[-len(SPECIAL) * (f + 2) + i]
        MS[-len(SPECIAL) * (f + 2) + i, f] = v
# XGBoost's boosters refuse infinite numbers.
MF = np.where(np.isfinite(MS.astype(np.float32)) | np.isnan(MS), MS, 5.0)

CX = np.c_[rng.normal(size=N), rng.integers(0, 60, N), rng.integers(0, 3, N), rng.integers(0, 200, N)].astype(float)
Cy = CX[:, 0] + np.sin(CX[:, 1] * 1.7) * 2 + (CX[:, 2] == 1) * 1.5 + np.cos(CX[:, 3] * 0.9)
CX[rng.random(N) < 0.1, 1] = np.nan
CS = CX.copy()
ODD = [np.nan, -1.0, -0.5, 0.5, 1.7, 61.0, 63.0, 64.0, 1000.0, 1e7, 2.0**24, 2.0**31, 1e18, -1e18, 7.99]
for i, v in enumerate(ODD):
    for f in (1, 2, 3):
        CS[-len(ODD) * f + i] = CX[-len(ODD) * f + i]
        CS[-len(ODD) * f + i, f] = v


def lgb_case(name, X, y, params, rows=None, rounds=None, fobj=None, booster=None, **data):
    if args.only not in "lgb-" + name:
        return
    rows = X if rows is None else rows
    if booster is None:
        base = {"verbose": -1, "num_leaves": 7, "min_data_in_leaf": 5, "seed": 3, "num_threads": 2}
        booster = lgb.train({**base, **params, **({"objective": fobj} if fobj else {})}, lgb.Dataset(X, y, **data), rounds or args.rounds)
    save = lambda path: booster.save_model(str(path))
    predict = lambda path, rows: lgb.Booster(model_file=str(path)).predict(rows)
    write("lgb-" + name, "lightgbm", "model.lgb", save, rows, predict)


pos = Dy / 50 + 0.1
for objective, y, extra in [
    ("regression", Dy, {}),
    ("regression", Dy - 150, {"reg_sqrt": True}),
    ("regression_l1", Dy, {}),
    ("huber", Dy, {}),
    ("fair", Dy, {}),
    ("quantile", Dy, {"alpha": 0.8}),
    ("mape", Dy, {}),
    ("poisson", pos, {}),
    ("gamma", pos, {}),
    ("tweedie", pos, {}),
]:
    lgb_case(objective + ("-sqrt" if extra.get("reg_sqrt") else ""), DX, y, {"objective": objective, **extra})
lgb_case("regression-l1-sqrt", DX, Dy - 150, {"objective": "regression_l1", "reg_sqrt": True})
lgb_case("binary", BX, By, {"objective": "binary"})
lgb_case("binary-sigmoid", BX, By, {"objective": "binary", "sigmoid": 2.5, "is_unbalance": True})
lgb_case("multiclass-iris", IX, Iy, {"objective": "multiclass", "num_class": 3})
lgb_case("multiclass-digits", GX, Gy, {"objective": "multiclass", "num_class": 10}, rounds=max(2, args.rounds // 3))
lgb_case("multiclassova", IX, Iy, {"objective": "multiclassova", "num_class": 3, "sigmoid": 0.7})
lgb_case("cross-entropy", BX, By * 0.8 + 0.1, {"objective": "cross_entropy"})
lgb_case("cross-entropy-lambda", BX, By * 0.8 + 0.1, {"objective": "cross_entropy_lambda"})
lgb_case("lambdarank", DX[:440], (Dy[:440] // 80).astype(int), {"objective": "lambdarank"}, group=[20] * 22)
lgb_case("rank-xendcg", DX[:440], (Dy[:440] // 80).astype(int), {"objective": "rank_xendcg"}, group=[20] * 22)
if lgb.__version__ >= "4":
    lgb_case("custom", DX, Dy, {}, fobj=lambda p, d: (p - d.get_label(), np.ones_like(p)))
for boosting, extra in [("dart", {"drop_rate": 0.3}), ("rf", {"bagging_freq": 1, "bagging_fraction": 0.6}), ("goss", {})]:
    lgb_case(boosting, DX, Dy, {"objective": "regression", "boosting": boosting, **extra})
    lgb_case(boosting + "-binary", BX, By, {"objective": "binary", "boosting": boosting, **extra})
lgb_case("rf-multiclass", IX, Iy, {"objective": "multiclass", "num_class": 3, "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6})
lgb_case("missing-nan", MX, My, {"num_leaves": 15}, MS)
lgb_case("missing-zero", MX, My, {"num_leaves": 15, "zero_as_missing": True}, MS)
lgb_case("missing-none", np.nan_to_num(MX), My, {"num_leaves": 15}, MS)
lgb_case("missing-unused", MX, My, {"num_leaves": 15, "use_missing": False}, MS)
cats = {"categorical_feature": [1, 2, 3]}
lgb_case("categories", CX, Cy, {"num_leaves": 15, "min_data_per_group": 5, "cat_smooth": 1}, CS, **cats)
lgb_case("categories-onehot", CX, Cy, {"num_leaves": 15, "max_cat_to_onehot": 300}, CS, **cats)
lgb_case("categories-unused", CX, Cy, {"num_leaves": 15, "use_missing": False, "min_data_per_group": 5}, CS, **cats)
lgb_case("one-leaf", DX, np.full(len(Dy), 4.5), {"objective": "regression"})
lgb_case("deep", MX, My, {"num_leaves": 63, "min_data_in_leaf": 1}, MS)
lgb_case("stopped", DX[:300], Dy[:300], {}, DX, booster=lgb.train(
    {"verbose": -1, "learning_rate": 0.8, "num_leaves": 7}, lgb.Dataset(DX[:300], Dy[:300]), 40,
    valid_sets=[lgb.Dataset(DX[300:], Dy[300:])], callbacks=[lgb.early_stopping(3, verbose=False)]))
if lgb.__version__ >= "4":
    lgb_case("refused-linear", DX, Dy, {"objective": "regression", "linear_tree": True})


def xgb_case(name, X, y, params, rows=None, rounds=None, file="model.json", finish=None, data=None, **more):
    if args.only not in "xgb-" + name:
        return
    rows = X if rows is None else rows
    D = xgb.DMatrix(X, y, **(data or {}))
    if finish:
        finish(D)
    booster = xgb.train({"max_depth": 3, "eta": 0.4, "seed": 3, "nthread": 2, **params}, D, rounds or args.rounds, **more)

    def predict(path, rows):
        return xgb.Booster(model_file=str(path)).predict(xgb.DMatrix(rows))

    write("xgb-" + name, "xgboost", file, lambda path: booster.save_model(str(path)), rows, predict)


def sk_case(name, cls, X, y, rows=None, file="model.ubj", fit=None, **params):
    if args.only not in "xgb-" + name:
        return
    rows = X if rows is None else rows
    model = getattr(xgb, cls)(**{"n_estimators": args.rounds, "max_depth": 3, "random_state": 3, "n_jobs": 2, **params})
    model.fit(X, y, **(fit or {}))

    def predict(path, rows):
        again = getattr(xgb, cls)()
        again.load_model(path)
        return again.predict(rows)

    write("xgb-" + name, "xgboost", file, lambda path: model.save_model(path), rows, predict, "xgboost.sklearn." + cls)


def aft(D):
    D.set_float_info("label_lower_bound", pos)
    D.set_float_info("label_upper_bound", pos)


for objective, y, extra in [
    ("reg:squarederror", Dy, {}),
    ("reg:squaredlogerror", pos, {}),
    ("reg:pseudohubererror", Dy / 50, {}),
    ("reg:absoluteerror", Dy, {}),
    ("reg:quantileerror", Dy, {"quantile_alpha": 0.3}),
    ("reg:logistic", Dy / 400, {}),
    ("count:poisson", pos, {}),
    ("reg:gamma", pos, {}),
    ("reg:tweedie", pos, {"tweedie_variance_power": 1.3}),
    ("survival:cox", pos, {}),
]:
    xgb_case(objective.replace(":", "-"), DX, y, {"objective": objective, **extra})
xgb_case("quantiles", DX, Dy, {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]})
xgb_case("survival-aft", DX, None, {"objective": "survival:aft"}, finish=aft)
for objective in ("binary:logistic", "binary:logitraw", "binary:hinge"):
    xgb_case(objective.replace(":", "-"), BX, By, {"objective": objective})
xgb_case("multi-softprob", IX, Iy, {"objective": "multi:softprob", "num_class": 3})
xgb_case("multi-softmax", IX, Iy, {"objective": "multi:softmax", "num_class": 3})
xgb_case("multi-digits", GX, Gy, {"objective": "multi:softprob", "num_class": 10}, rounds=max(2, args.rounds // 3), file="model.ubj")
for objective in ("rank:ndcg", "rank:pairwise"):
    xgb_case(objective.replace(":", "-"), DX[:440], (Dy[:440] // 80).astype(int), {"objective": objective}, finish=lambda D: D.set_group([20] * 22))
xgb_case("rank-map", DX[:440], (Dy[:440] > 150).astype(int), {"objective": "rank:map"}, finish=lambda D: D.set_group([20] * 22))
xgb_case("ubjson", BX, By, {"objective": "binary:logistic"}, file="model.ubj")
xgb_case("base-score", BX, By, {"objective": "binary:logistic", "base_score": 0.2})
xgb_case("base-score-poisson", DX, pos, {"objective": "count:poisson", "base_score": 3})
xgb_case("dart", DX, Dy, {"booster": "dart", "rate_drop": 0.3}, file="model.ubj")
xgb_case("dart-multi", IX, Iy, {"booster": "dart", "rate_drop": 0.3, "objective": "multi:softprob", "num_class": 3})
xgb_case("parallel", IX, Iy, {"num_parallel_tree": 3, "subsample": 0.6, "objective": "multi:softprob", "num_class": 3}, rounds=3)
xgb_case("targets", DX, np.c_[Dy, -Dy / 2], {})
xgb_case("missing", MX, My, {"max_depth": 5}, MF)
xgb_case("missing-exact", MX, My, {"max_depth": 4, "tree_method": "exact"}, MF)
types = {"feature_types": ["q", "c", "c", "c"], "enable_categorical": True}
CF = CS.copy()
CF[:, 1:] = np.where(np.abs(CF[:, 1:]) > 1e9, 5000.0, CF[:, 1:])
xgb_case("categories", CX, Cy, {"max_depth": 5, "max_cat_to_onehot": 1}, CF, data=types, file="model.ubj")
xgb_case("categories-onehot", CX, Cy, {"max_depth": 5, "max_cat_to_onehot": 500}, CF, data=types)
xgb_case("one-leaf", DX, np.full(len(Dy), 4.5), {"gamma": 1e9})
xgb_case("leafwise", MX, My, {"max_depth": 0, "max_leaves": 60, "grow_policy": "lossguide"}, MF)
xgb_case("stopped", DX[:300], Dy[:300], {"eta": 1}, DX, rounds=40, evals=[(xgb.DMatrix(DX[300:], Dy[300:]), "v")], early_stopping_rounds=3, verbose_eval=False)
sk_case("classifier", "XGBClassifier", BX, By)
sk_case("classifier-iris", "XGBClassifier", IX, Iy, file="model.json")
sk_case("classifier-softmax", "XGBClassifier", IX, Iy, objective="multi:softmax")
sk_case("classifier-hinge", "XGBClassifier", BX, By, objective="binary:hinge")
sk_case("classifier-raw", "XGBClassifier", BX, By, objective="binary:logitraw")
sk_case("classifier-two", "XGBClassifier", BX, By, objective="multi:softprob", num_class=2)
sk_case("classifier-labels", "XGBClassifier", IX, np.c_[Iy == 0, Iy > 0, Iy == 2].astype(int))
sk_case("classifier-stopped", "XGBClassifier", BX[:300], By[:300], BX, learning_rate=1, early_stopping_rounds=2, fit={"eval_set": [(BX[300:], By[300:])], "verbose": False})
sk_case("regressor", "XGBRegressor", DX, Dy)
sk_case("regressor-infinite", "XGBRegressor", MX, My, MS)
sk_case("regressor-stopped", "XGBRegressor", IX[:100], IX[:100, :2], IX, learning_rate=1, early_stopping_rounds=3, num_parallel_tree=2, subsample=0.7, fit={"eval_set": [(IX[100:], IX[100:, :2] * 1.2)], "verbose": False})
sk_case("forest", "XGBRFClassifier", IX, Iy)
sk_case("ranker", "XGBRanker", DX[:440], (Dy[:440] // 80).astype(int), fit={"qid": np.arange(440) // 20})
xgb_case("refused-linear", DX, Dy, {"booster": "gblinear"})
xgb_case("refused-vector", DX, np.c_[Dy, -Dy / 2], {"multi_strategy": "multi_output_tree", "tree_method": "hist"})
