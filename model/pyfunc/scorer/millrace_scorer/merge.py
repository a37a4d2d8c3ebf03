"""Requests that may be one call.

Requests of one key are parsed as one body and predicted by one call, whose result
is cut by rows. That a row's answer does not depend on its neighbours is not
believed: the first call of a key, and then the second, fourth, eighth …, is also
made request by request, compared, and answered by those. A model that answers
otherwise together than alone is not asked together again."""

import sys

import numpy as np
import pandas as pd
from mlflow.types import DataType
from mlflow.utils.proto_json_utils import _get_jsonable_obj

from . import form as forms
from . import v2

PROBE = 3  # rows that have to answer together as they do alone
HALVE = 4  # requests of a failed call that are halved rather than asked one by one
KEYS = 1024  # that are remembered
UNLIKE = "another number of rows"


class State:
    """What is known of a key."""

    __slots__ = ("calls", "verify_at", "sort", "refused")

    def __init__(self):
        self.calls, self.verify_at, self.sort, self.refused = 0, 1, None, 0


class Batcher:
    def __init__(self, scorer, policy, max_batch):
        self.scorer, self.max_batch, self.states = scorer, max(1, max_batch), {}
        declared = (getattr(scorer.metadata, "metadata", None) or {}).get("millrace_batch")
        if declared in ("always", "never"):
            policy = declared
        self.policy, self.why, self.probed = policy, "", False
        if has_datetime(scorer.schema):
            self.stop("a format of times is guessed from the first of a column")
        elif policy == "never":
            self.stop("by configuration")

    def stop(self, why):
        if self.policy != "never" or not self.why:
            print(f"requests are not batched: {why}", file=sys.stderr, flush=True)
        self.policy, self.why = "never", why

    def word(self):
        return "no: " + self.why if self.policy == "never" else "yes" if self.probed or self.policy == "always" else "not known yet"

    def probe(self, example):
        """Tries rows of an example, alone and together, and batches of all sizes."""
        if self.policy == "never" or example.key is None:
            return
        cut = v2.rows_of if example.format == "v2" else forms.rows_of
        rows = cut(example, PROBE)
        if any(r.key != rows[0].key for r in rows) or rows[0].key is None:
            return
        if any(a.status != "ok" for a in self.together(rows, State(), True)):
            return  # it does not take scaled values: what comes will tell
        self.probed = self.policy != "never"
        n = PROBE
        while self.policy != "never" and n < self.max_batch:
            n = min(2 * n, self.max_batch)
            for _ in range(2):
                self.together([rows[i % PROBE] for i in range(n)], State(), False)

    def run(self, items):
        """Yields lists of answers, one list a call."""
        groups = {}
        for item in items:
            groups.setdefault(item.key if self.policy != "never" else None, []).append(item)
        for item in groups.pop(None, ()):
            yield [self.scorer.single(item)]
        for key, group in groups.items():
            for chunk in self.chunks(group):
                if len(chunk) == 1 or self.policy == "never":
                    for item in chunk:
                        yield [self.scorer.single(item)]
                else:
                    yield self.together(chunk, self.state(key), None)

    def state(self, key):
        if key not in self.states:
            if len(self.states) >= KEYS:
                self.states.clear()
            self.states[key] = State()
        return self.states[key]

    def chunks(self, group):
        chunk, rows = [], 0
        for item in group:
            if chunk and rows + item.rows > self.max_batch:
                yield chunk
                chunk, rows = [], 0
            chunk.append(item)
            rows += item.rows
        if chunk:
            yield chunk

    def together(self, items, state, verify):
        """Answers of one call, or of one each where that does not do."""
        if state.refused >= 2:
            return [self.scorer.single(i) for i in items]
        state.calls += 1
        if verify is None:
            verify = self.policy != "always" and state.calls >= state.verify_at
        parts, why = self.call(items)
        if parts is None:
            if why == UNLIKE or len(items) < HALVE:
                answers = [self.scorer.single(i) for i in items]
            else:  # one of them is at fault
                half = len(items) // 2
                answers = self.together(items[:half], state, verify) + self.together(items[half:], state, verify)
            if why == UNLIKE or all(a.status == "ok" for a in answers):
                state.refused += 1  # it is the company that it does not take
            return answers
        if not verify and (state.sort is None or state.sort == parts[0].sort or self.policy == "always"):
            return [self.answer(i, p) for i, p in zip(items, parts)]
        state.verify_at = 2 * state.calls
        return self.compare(items, parts, state)

    def call(self, items):
        """The parts of one call's result, or None and why there are none."""
        from .score import Refused

        try:
            joined = (v2.joined if items[0].format == "v2" else forms.joined)(items)
            result = self.scorer.predict(joined, quiet=True)
        except (Refused, MemoryError):  # texts are as long as the longest of all
            return None, "refused"
        sort, at, parts = sort_of(result), 0, []
        if not has_rows(result, joined.rows):
            return None, UNLIKE
        if joined.format != "v2":
            result = plain(result)  # once for all, which is faster
        for item in items:
            parts.append(Part(cut(result, at, at + item.rows), sort))
            at += item.rows
        return parts, ""

    def answer(self, item, part):
        from .score import Answer, Refused

        try:
            return Answer(item.index, "ok", self.scorer.encode(item, part.result))
        except Refused as e:
            return Answer(item.index, e.status, e.message, e.field)

    def compare(self, items, parts, state):
        """Answers each request by itself, and holds the parts against that."""
        from .score import Answer, Refused

        answers, sorts = [], set()
        for item, part in zip(items, parts):
            try:
                alone = self.scorer.predict(item)
                sorts.add(sort_of(alone))
                if self.policy != "never" and not alike(plain(alone), plain(part.result), tolerance(part.sort)):
                    self.stop("its answer to a request depends on the requests beside it")
                answers.append(Answer(item.index, "ok", self.scorer.encode(item, alone)))
            except Refused as e:
                answers.append(Answer(item.index, e.status, e.message, e.field))
        if state.sort is not None:
            sorts.add(state.sort)
        if len(sorts) > 1 or sorts and parts[0].sort not in sorts:
            state.refused = 2  # the type of an answer depends on its request
        elif sorts:
            state.sort = sorts.pop()
        return answers


class Part:
    __slots__ = ("result", "sort")

    def __init__(self, result, sort):
        self.result, self.sort = result, sort


def has_datetime(schema):
    return schema is not None and not schema.is_tensor_spec() and DataType.datetime in schema.input_types()


def has_rows(result, rows):
    """Whether a result can be cut into that many rows."""
    if isinstance(result, np.ndarray):
        return result.ndim > 0 and len(result) == rows
    if isinstance(result, (pd.DataFrame, pd.Series, list, tuple)):
        return len(result) == rows
    if isinstance(result, dict) and result:
        return all(isinstance(v, (np.ndarray, list, tuple)) and has_rows(v, rows) for v in result.values())
    return False


def cut(result, low, high):
    if isinstance(result, dict):
        return {n: v[low:high] for n, v in result.items()}
    return result.iloc[low:high] if isinstance(result, (pd.DataFrame, pd.Series)) else result[low:high]


def sort_of(result):
    """What a result is, apart from its rows: types that neighbours may change."""
    if isinstance(result, np.ndarray):
        return "array", type_of(result.dtype), result.shape[1:]
    if isinstance(result, pd.DataFrame):
        return ("frame", tuple(result.columns), *map(type_of, result.dtypes))
    if isinstance(result, pd.Series):
        return "series", result.name, type_of(result.dtype)
    if isinstance(result, dict):
        return ("dict", *((n, sort_of(v)) for n, v in result.items()))
    return (type(result).__name__,)


def type_of(dtype):
    """Texts have their length in their type."""
    return dtype.kind if getattr(dtype, "kind", "") in "US" else str(dtype)


def tolerance(sort):
    """What another order of summing makes of floats."""
    text = repr(sort)
    return 1e-2 if "float16" in text else 1e-4 if "float32" in text else 1e-8


def plain(value):
    if isinstance(value, dict):
        return {n: plain(v) for n, v in value.items()}
    value = _get_jsonable_obj(value, pandas_orient="records")
    return list(value) if isinstance(value, tuple) else value


def alike(a, b, within):
    if isinstance(a, np.generic):
        a = a.item()
    if isinstance(b, np.generic):
        b = b.item()
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return a == b or (a != a and b != b) or abs(a - b) <= within * max(1e-3, abs(a))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(alike(x, y, within) for x, y in zip(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k], within) for k in a)
    if isinstance(a, np.ndarray):
        return alike(a.tolist(), b.tolist(), within)
    try:
        return bool(a == b)
    except Exception:
        return False
