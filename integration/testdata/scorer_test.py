"""Holds the scorer's parts, by themselves; TestScorer runs it."""

import json
import math
import unittest
from types import SimpleNamespace

import numpy as np
import pandas as pd
from millrace_scorer import form, merge, score, v2
from mlflow.models import infer_signature
from mlflow.pyfunc import PyFuncModel


def key(body):
    return form.form_of(0, "application/json", body, True).key


class Keys(unittest.TestCase):
    """What may be parsed as one."""

    def test_same(self):
        for a, b in [
            ({"inputs": [[1.5, 2]]}, {"inputs": [[3, 4.5], [0.5, 1]]}),
            ({"inputs": {"a": [1], "b": ["x"]}}, {"inputs": {"a": [2, 3], "b": ["y", "longer"]}}),
            ({"dataframe_records": [{"a": 1, "b": None}]}, {"dataframe_records": [{"a": 2, "b": None}]}),
            ({"dataframe_records": [{"a": 1.5}]}, {"dataframe_records": [{"a": None}, {"a": 1}]}),
            ({"dataframe_split": {"columns": ["a"], "data": [[1]]}}, {"dataframe_split": {"columns": ["a"], "data": [[2], [3]]}}),
            ({"instances": [1, 2], "params": {"p": 1}}, {"instances": [3], "params": {"p": 1}}),
        ]:
            self.assertIsNotNone(key(a), a)
            self.assertEqual(key(a), key(b))

    def test_different(self):
        for a, b in [
            ({"inputs": [[1, 2]]}, {"inputs": [[1.5, 2.5]]}),
            ({"inputs": [[1]]}, {"instances": [[1]]}),
            ({"inputs": [[1, 2]]}, {"inputs": [[1, 2, 3]]}),
            ({"inputs": [True]}, {"inputs": [1]}),
            ({"inputs": {"a": [1], "b": [1]}}, {"inputs": {"b": [1], "a": [1]}}),
            ({"dataframe_records": [{"a": 1}]}, {"dataframe_records": [{"a": None}]}),
            ({"dataframe_records": [{"a": 1}]}, {"dataframe_records": [{"a": "1"}]}),
            ({"dataframe_records": [{"a": "x"}]}, {"dataframe_records": [{"a": "x"}, {"a": None}]}),
            ({"inputs": [1], "params": {"p": 1}}, {"inputs": [1], "params": {"p": 1.0}}),
            ({"inputs": [1], "params": {"p": 1}}, {"inputs": [1]}),
        ]:
            self.assertNotEqual(key(a), key(b), (a, b))

    def test_alone(self):
        for body in [
            {"inputs": 1.5},
            {"inputs": []},
            {"inputs": [[1], [1, 2]]},
            {"inputs": [[1, None]]},
            {"inputs": [1, "x"]},
            {"inputs": [1 << 63]},
            {"inputs": {"a": 1}},
            {"inputs": {"a": [1], "b": [1, 2]}},
            {"inputs": [1], "instances": [1]},
            {"dataframe_split": {"index": [5], "columns": ["a"], "data": [[1]]}},
            {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}},
            {"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}},
            {"dataframe_split": {"columns": ["a"], "data": [1]}},
            {"dataframe_records": [{"a": 1}, {"b": 1}]},
            {"dataframe_records": [{}]},
            {"dataframe_records": {"a": 1}},
            {"other": []},
        ]:
            self.assertIsNone(key(body), body)

    def test_joined(self):
        for a, b, want in [
            ({"inputs": [[1]]}, {"inputs": [[2], [3]]}, {"inputs": [[1], [2], [3]]}),
            ({"instances": {"a": [1]}}, {"instances": {"a": [2]}}, {"instances": {"a": [1, 2]}}),
            (
                {"dataframe_split": {"columns": ["a"], "data": [[1]]}, "params": {"p": 1}},
                {"dataframe_split": {"columns": ["a"], "data": [[2]]}, "params": {"p": 1}},
                {"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}, "params": {"p": 1}},
            ),
        ]:
            both = form.joined([form.form_of(0, "", a, True), form.form_of(1, "", b, True)])
            self.assertEqual(want, both.doc)
            self.assertEqual(form.form_of(0, "", want, True).rows, both.rows)


class Answers(unittest.TestCase):
    def test_json(self):
        self.assertEqual('{"a": [null, 1.5, null], "b": "\\u00e9", "null": null}', score.dumps({"a": np.array([math.nan, 1.5, math.inf]), "b": "é", None: -math.inf}))
        self.assertEqual('{"nan": 1}', score.dumps({math.nan: 1}))
        self.assertRaises(TypeError, score.dumps, object())

    def test_alike(self):
        for a, b, want in [
            ([1.0, math.nan], [1.0 + 1e-12, math.nan], True),
            ([1.0], [1], False),
            ([1.0], [1.001], False),
            ([{"a": "x"}], [{"a": "x"}], True),
            ([{"a": "x"}], [{"b": "x"}], False),
            ([1, 2], [1], False),
            ([True], [1], False),
        ]:
            self.assertEqual(want, merge.alike(a, b, 1e-8), (a, b))

    def test_rows(self):
        for result, want in [
            (np.zeros((3, 2)), True),
            (np.zeros(2), False),
            (np.float64(1), False),
            (pd.DataFrame({"a": [1, 2, 3]}), True),
            ([1, 2, 3], True),
            ({"a": [1, 2, 3], "b": np.zeros(3)}, True),
            ({"a": [1, 2]}, False),
            ({"a": {"b": [1, 2, 3]}}, False),
            ("abc", False),
        ]:
            self.assertEqual(want, merge.has_rows(result, 3), result)

    def test_v2(self):
        def encode(result, wanted=()):
            return json.loads(v2.encode(SimpleNamespace(wanted=wanted), result, score.dumps))

        self.assertEqual([{"name": "output-1", "shape": [2, 1], "datatype": "FP32", "data": [0.1, None]}], encode(np.array([[0.1], [math.nan]], "float32")))
        frame = pd.DataFrame({"n": [1, 2], "s": ["a", None]})
        self.assertEqual(["INT64", "BYTES"], [o["datatype"] for o in encode(frame)])
        self.assertEqual(["s"], [o["name"] for o in encode(frame, ("s",))])
        self.assertEqual([["a", None]], [o["data"] for o in encode(frame, ("s",))])
        self.assertRaises(v2.Wrong, encode, frame, ("z",))
        self.assertEqual([{"name": "output-1", "shape": [1], "datatype": "BYTES", "data": ['{"a": 1}']}], encode([{"a": 1}]))
        self.assertEqual([{"name": "output-1", "shape": [2], "datatype": "BOOL", "data": [True, False]}], encode([True, False]))

    def test_v2_refused(self):
        good = {"name": "x", "shape": [2], "datatype": "INT8", "data": [1, 2]}
        for change, field in [
            ({"name": 1}, "inputs[0].name"),
            ({"datatype": "FP99"}, "inputs[0].datatype"),
            ({"shape": [-1]}, "inputs[0].shape"),
            ({"shape": [3]}, "x"),
            ({"data": [1, 1.5]}, "x"),
            ({"data": [1, True]}, "x"),
            ({"data": [1, 300]}, "x"),
            ({"data": None}, "inputs[0].data"),
            ({"data": None, "parameters": 5}, "inputs[0].data"),
            ({"datatype": "BYTES", "shape": [1024], "data": ["x"] * 1023 + ["x" * (1 << 17)]}, "x"),
            ({"shape": [0] * 99, "data": []}, "x"),
        ]:
            with self.assertRaises(v2.Wrong) as e:
                v2.form(0, "", {"inputs": [good | change]}, None)
            self.assertEqual(field, e.exception.field, change)
        self.assertEqual(2, v2.form(0, "", {"inputs": [good]}, None).rows)


class Impl:
    def __init__(self, predict):
        self.predict = predict


def scorer(predict, **settings):
    """A scorer of a model of one column, a."""
    from mlflow.models import Model

    frame = pd.DataFrame({"a": [1.5, 2.5]})
    meta = Model(signature=infer_signature(frame, frame))
    meta.add_flavor("python_function", loader_module="none")
    return score.Scorer(PyFuncModel(meta, Impl(predict)), {"max_rows": 100, "max_batch": 64, **settings})


def ask(s, *values, alone=False):
    bodies = [json.dumps({"dataframe_split": {"columns": ["a"], "data": [[v]]}}).encode() for v in values]
    got = {}
    for rows in s.score(["application/json"] * len(bodies), bodies, alone):
        for a in rows:
            got[a.index] = (a.status, a.content)
    return [got[i] for i in range(len(bodies))]


class Batches(unittest.TestCase):
    """A model that counts its calls."""

    def setUp(self):
        self.calls = 0

    def counted(self, answer, **settings):
        def predict(data, params=None):
            self.calls += 1
            return answer(data)

        return scorer(predict, **settings)

    def of(self, s, *values):
        self.calls = 0
        return ask(s, *values)

    def test_merged_when_verified(self):
        s = self.counted(lambda d: (d["a"] * 2).to_numpy())
        want = [("ok", '{"predictions": [%s]}' % (2 * v)) for v in (1.5, 2.5, 3.5)]
        for calls in (4, 4, 1, 4, 1, 1, 1, 4, 1):  # all together and, the first, second, fourth and eighth time, one by one
            self.assertEqual(want, self.of(s, 1.5, 2.5, 3.5))
            self.assertEqual(calls, self.calls)
        self.assertEqual(want, ask(s, 1.5, 2.5, 3.5, alone=True))

    def test_depends_on_neighbours(self):
        s = self.counted(lambda d: d["a"] - d["a"].mean())
        for calls in (4, 3, 3):
            self.assertEqual([("ok", '{"predictions": [{"a": 0.0}]}')] * 3, self.of(s, 1.5, 2.5, 3.5))
            self.assertEqual(calls, self.calls)
        self.assertIn("no: ", s.batcher.word())

    def test_found_out_later(self):
        s = self.counted(lambda d: d["a"] + (d["a"].max() > 9) * d["a"].sum())
        self.of(s, 1.5, 2.5, 3.5)
        self.of(s, 1.5, 2.5, 3.5)
        self.of(s, 1.5, 2.5, 3.5)
        self.assertEqual(("ok", '{"predictions": [{"a": 1.5}]}'), self.of(s, 1.5, 2.5, 10.5)[0])
        self.assertIn("no: ", s.batcher.word())

    def test_other_rows(self):
        s = self.counted(lambda d: [1, 2, 3, 4])
        for calls in (4, 4, 3):
            self.assertEqual([("ok", '{"predictions": [1, 2, 3, 4]}')] * 3, self.of(s, 1.5, 2.5, 3.5))
            self.assertEqual(calls, self.calls)

    def test_types_depend_on_rows(self):
        s = self.counted(lambda d: pd.Series([None if v > 3 else int(v) for v in d["a"]]))
        for _ in range(4):
            self.assertEqual([("ok", '{"predictions": [{"0": 1}]}')] * 2, self.of(s, 1.5, 1.5))
            self.assertEqual([("ok", '{"predictions": [{"0": 1}]}'), ("ok", '{"predictions": [{"0": null}]}')], self.of(s, 1.5, 3.5))

    def test_one_at_fault(self):
        def picky(d):
            if (d["a"] > 9).any():
                raise ValueError("too much")
            return d["a"].to_numpy()

        s = self.counted(picky)
        for _ in range(4):
            values = [float(i) / 2 for i in range(16)]
            self.assertTrue(all(a[0] == "ok" for a in self.of(s, *values)))
        values[5] = 10.5
        got = self.of(s, *values)
        self.assertEqual(("MODEL_FAILED", "ValueError: too much"), got.pop(5))
        self.assertTrue(all(a[0] == "ok" for a in got))
        self.assertLess(self.calls, 16)

    def test_policies(self):
        s = self.counted(lambda d: d["a"] - d["a"].mean(), batch="always")
        self.of(s, 1.5, 2.5)
        self.assertEqual(1, self.calls)
        s = self.counted(lambda d: d["a"], batch="never")
        self.of(s, 1.5, 2.5)
        self.assertEqual(2, self.calls)

    def test_limits(self):
        s = self.counted(lambda d: d["a"].to_numpy(), max_rows=1, max_batch=2)
        body = json.dumps({"dataframe_records": [{"a": 1.5}, {"a": 2.5}]}).encode()
        (answer,) = next(s.score(["application/json"], [body], False))
        self.assertEqual(("TOO_LARGE", "2 rows, more than 1"), (answer.status, answer.content))
        (answer,) = next(s.score(["text/csv"], [b"a\n1.5\n2.5\n"], False))
        self.assertEqual("TOO_LARGE", answer.status)
        for _ in range(3):
            self.of(s, 1.5, 2.5, 3.5)
        self.assertEqual(2, self.calls)

    def test_warm(self):
        s = self.counted(lambda d: d["a"].to_numpy(), own=True)
        s.warm(['{"dataframe_split": {"columns": ["a"], "data": [[1.5]]}}'])
        self.assertEqual("yes", s.batcher.word())
        s.warm(["{", '{"inputs": [[1, 2]]}'])  # says nothing about the model
        failing = self.counted(lambda d: 1 / 0, own=True)
        self.assertRaisesRegex(SystemExit, "its own input example: ZeroDivisionError", failing.warm, ['{"dataframe_records": [{"a": 1.5}]}'])

    def test_refused(self):
        s = self.counted(lambda d: d["a"].to_numpy())
        for body, status, field, message in [
            ({"dataframe_records": [{"b": 1}]}, "INVALID_INPUT", "a", "Model is missing inputs ['a']"),
            ({"dataframe_records": [{"a": "x"}]}, "INVALID_INPUT", "a", "Failed to convert column a"),
            ({"x": 1}, "INVALID_INPUT", "", "exactly one of"),
            ([1], "INVALID_INPUT", "", "exactly one of"),
        ]:
            (answer,) = next(s.score(["application/json"], [json.dumps(body).encode()], False))
            self.assertEqual((status, field), (answer.status, answer.field), answer.content)
            self.assertIn(message, answer.content)
            self.assertNotIn("Traceback", answer.content)

    def test_refused_v2(self):
        s, one = self.counted(lambda d: d["a"].to_numpy()), {"name": "a", "datatype": "FP64", "shape": [1], "data": [1]}
        for inputs in [one, {**one, "name": "b", "shape": [2], "data": [1, 2]}], [{**one, "data": None, "parameters": 5}], [one | {"shape": [[]]}]:
            body = json.dumps({"inputs": inputs}).encode()
            answers = [a for rows in s.score([score.V2] * 2, [body] * 2, False) for a in rows]
            self.assertEqual(["INVALID_INPUT"] * 2, [a.status for a in answers], inputs)

    def test_exit(self):
        def leave(d):
            raise SystemExit(3)

        self.assertEqual(("MODEL_FAILED", "SystemExit: 3"), ask(self.counted(leave), 1.5)[0])


if __name__ == "__main__":
    unittest.main()
