"""The Open Inference Protocol V2 in JSON. What a model is called with, and how its
result is named, is as MLServer's runtime for MLflow has it: by the signature a data
frame, an array or a dict of arrays; in the answer a data frame's columns, a dict's
members, and "output-1" for what has no name."""

import base64
import json
from itertools import chain

import numpy as np
import pandas as pd

from .form import Form

# Datatype: what numpy calls it, and the types of its elements in JSON.
DATATYPES = {
    "BOOL": ("bool", {bool}),
    "UINT8": ("uint8", {int}),
    "UINT16": ("uint16", {int}),
    "UINT32": ("uint32", {int}),
    "UINT64": ("uint64", {int}),
    "INT8": ("int8", {int}),
    "INT16": ("int16", {int}),
    "INT32": ("int32", {int}),
    "INT64": ("int64", {int}),
    "FP16": ("float16", {int, float}),
    "FP32": ("float32", {int, float}),
    "FP64": ("float64", {int, float}),
    "BYTES": ("str", {str}),
}
NAMES = {np.dtype(name): datatype for datatype, (name, _) in DATATYPES.items() if name != "str"}
NAMELESS = "output-1"
LETTERS = 1 << 26  # of an array of texts, each of which takes as many as the longest, at four bytes


class Wrong(Exception):
    def __init__(self, field, message, status="INVALID_INPUT"):
        super().__init__(message)
        self.field, self.message, self.status = field, message, status


def form(index, kind, doc, schema):
    inputs = doc.get("inputs") if isinstance(doc, dict) else None
    if not isinstance(inputs, list) or not inputs:
        raise Wrong("inputs", "a list of the model's inputs is missing")
    arrays = {}
    for i, entry in enumerate(inputs):
        name, array = tensor(entry, f"inputs[{i}]")
        if name in arrays:
            raise Wrong(name, "the input comes twice")
        arrays[name] = array
    f = Form(index, kind, doc, "v2")
    f.arrays, f.wanted = arrays, wanted(doc.get("outputs"))
    firsts = {a.shape[0] if a.shape else None for a in arrays.values()}
    f.rows = max((n for n in firsts if n is not None), default=1)
    if len(firsts) == 1 and firsts != {None} and f.rows > 0:
        f.key = ("v2", tuple((n, a.dtype.kind, a.dtype.itemsize if a.dtype.kind != "U" else 0, a.shape[1:]) for n, a in arrays.items()))
    return f


def tensor(entry, path):
    if not isinstance(entry, dict):
        raise Wrong(path, "an object should be here")
    name, datatype, shape, elements = (entry.get(k) for k in ("name", "datatype", "shape", "data"))
    if not isinstance(name, str):
        raise Wrong(path + ".name", "no name of an input")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise Wrong(path + ".datatype", f"none of {', '.join(DATATYPES)}")
    if not isinstance(shape, list) or any(type(d) is not int or not 0 <= d < 1 << 31 for d in shape):
        raise Wrong(path + ".shape", "no list of dimensions")
    if not isinstance(elements, list):
        params = entry.get("parameters")
        if isinstance(params, dict) and "binary_data_size" in params:
            raise Wrong(path + ".data", "binary_data_size, and no header inference-header-content-length says where the bytes begin")
        raise Wrong(path + ".data", "no list of elements")
    while elements and set(map(type, elements)) == {list}:
        elements = list(chain.from_iterable(elements))
    size = 1
    for d in shape:
        size *= d
    if len(elements) != size:
        raise Wrong(name, f"{len(elements)} elements, where shape {shape} has {size}")
    numpy_name, kinds = DATATYPES[datatype]
    if not set(map(type, elements)) <= kinds:
        odd = next(e for e in elements if type(e) not in kinds)
        raise Wrong(name, f"{odd!r:.40} is no {datatype}")
    if kinds == {str} and len(elements) * max(map(len, elements), default=0) > LETTERS:
        raise Wrong(name, f"{len(elements)} texts, the longest of {max(map(len, elements))}, take too much memory as an array", "TOO_LARGE")
    if kinds == {int} and elements:  # numpy before 2 wraps around
        bounds = np.iinfo(numpy_name)
        if min(elements) < bounds.min or max(elements) > bounds.max:
            raise Wrong(name, f"an element is out of the range of {datatype}")
    try:
        return name, np.array(elements, dtype=numpy_name).reshape(shape)
    except OverflowError:
        raise Wrong(name, f"an element is out of the range of {datatype}") from None
    except ValueError as e:
        raise Wrong(name, str(e)) from None


def wanted(outputs):
    if outputs is None:
        return ()
    if not isinstance(outputs, list) or any(not isinstance(o, dict) or not isinstance(o.get("name"), str) for o in outputs):
        raise Wrong("outputs", "no list of outputs with names")
    return tuple(o["name"] for o in outputs)


def joined(forms):
    f = Form(forms[0].index, forms[0].kind, None, "v2", sum(x.rows for x in forms))
    f.arrays = {n: np.concatenate([x.arrays[n] for x in forms]) for n in forms[0].arrays}
    return f


def rows_of(f, most):
    """As form.rows_of, from a call's arrays."""
    rows = []
    for r in range(most):
        at = r % f.rows
        one = Form(r, f.kind, None, "v2", 1, f.key)
        one.arrays = {n: a[at : at + 1] * a.dtype.type(1 + 0.25 * r) if a.dtype.kind == "f" else a[at : at + 1] for n, a in f.arrays.items()}
        rows.append(one)
    return rows


def data(f, schema, hinted):
    arrays = f.arrays
    named = schema is not None and schema.has_input_names()
    if hinted or schema is None or schema.is_tensor_spec():
        if named and not hinted or schema is None and len(arrays) > 1:
            return dict(arrays)
        if len(arrays) != 1:
            raise Wrong("inputs", f"{len(arrays)} inputs, where the model takes one")
        array = next(iter(arrays.values()))
        return array.tolist() if hinted else array
    if not named:
        if len(arrays) == 1:
            return pd.DataFrame(next(iter(arrays.values())))
        return pd.DataFrame({i: column(a, None) for i, a in enumerate(arrays.values())})
    types = dict(zip(schema.input_names(), schema.input_types()))
    try:
        return pd.DataFrame({n: column(a, types.get(n), n) for n, a in arrays.items()})
    except ValueError as e:
        raise Wrong("inputs", str(e)) from None


def column(array, kind, name=""):
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 0:
        array = array.reshape(1)
    if array.dtype.kind != "U":
        return array if array.ndim == 1 else list(array.tolist())
    cells, kind = array.tolist(), getattr(kind, "name", kind)
    try:
        if kind == "binary":
            return [base64.b64decode(c) for c in cells]
        if kind == "datetime":
            return pd.to_datetime(pd.Series(cells))
        if kind is not None and not isinstance(kind, str):  # an array, object, map or anything: JSON in a text
            return [json.loads(c) for c in cells]
    except ValueError as e:
        raise Wrong(name, str(e)) from None
    return cells


def encode(f, result, dumps):
    """The list of a result's outputs, in JSON."""
    outputs = named(result)
    unknown = [n for n in f.wanted if n not in outputs]
    if unknown:
        raise Wrong("outputs", f"the model has no output {unknown[0]!r}; it has {list(outputs)}")
    return dumps([output(n, a) for n, a in outputs.items() if not f.wanted or n in f.wanted])


def named(result):
    if isinstance(result, pd.DataFrame):
        return {str(n): result[n] for n in result.columns}
    if isinstance(result, pd.Series):
        return {NAMELESS if result.name is None else str(result.name): result}
    if isinstance(result, dict):
        return {str(n): v for n, v in result.items()}
    return {NAMELESS: result}


def output(name, value):
    array = value.to_numpy() if isinstance(value, pd.Series) else np.asarray(plain(value))
    if array.dtype in NAMES:
        cells = array.ravel().tolist()
        if array.dtype.kind == "f" and array.dtype.itemsize < 8:  # the fewest digits that read back as the same
            cells = [float(str(x)) for x in array.ravel()]
        return {"name": name, "shape": list(array.shape), "datatype": NAMES[array.dtype], "data": cells}
    if array.dtype.kind == "M":
        array = np.datetime_as_string(array)
    cells = array.ravel().tolist()
    kinds = set(map(type, cells)) - {type(None)}
    if kinds <= {int, float} and kinds:
        return {"name": name, "shape": list(array.shape), "datatype": "FP64", "data": cells}
    return {"name": name, "shape": list(array.shape), "datatype": "BYTES", "data": [text(c) for c in cells]}


def plain(value):
    """A list whose elements are no arrays, as it is: numpy would fail on it."""
    if isinstance(value, (list, tuple)) and any(isinstance(v, (dict, list, tuple)) for v in value):
        try:
            return np.array(value)
        except ValueError:
            array = np.empty(len(value), dtype=object)
            array[:] = value
            return array
    return value


def text(cell):
    from .score import dumps

    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, float) and cell != cell:  # a text that is missing
        return None
    if isinstance(cell, (bytes, bytearray)):
        return base64.b64encode(cell).decode("ascii")
    return cell.isoformat() if hasattr(cell, "isoformat") else dumps(cell)
