"""What form a body has, as far as it decides which bodies may be parsed as one.

Bodies of one key may be put one below the other: each of their columns, or
arrays, then becomes of the type that it would have become alone. A body without
a key is parsed by itself."""

from itertools import chain

LOWEST, BEYOND = -(1 << 63), 1 << 63


class Form:
    """A request: its body as it was read, its rows, and its key."""

    __slots__ = ("index", "kind", "doc", "format", "rows", "key", "params", "unwrapped", "arrays", "wanted")

    def __init__(self, index, kind, doc, format="", rows=0, key=None):
        self.index, self.kind, self.doc, self.format, self.rows, self.key = index, kind, doc, format, rows, key
        self.params, self.unwrapped, self.arrays, self.wanted = None, False, None, ()


def form_of(index, kind, doc, mergeable):
    form = Form(index, kind, doc)
    formats = [f for f in ("dataframe_split", "dataframe_records", "inputs", "instances") if mergeable and f in doc]
    if len(formats) != 1:
        return form
    form.format = formats[0]
    body = doc[form.format]
    form.rows = count(body)
    key = KEYS[form.format](body)
    if key is not None and form.rows > 0:
        params = doc.get("params")
        form.key = (form.format, key, None if params is None else repr(params))
    return form


def count(body):
    """The rows of a body; 0 when it has none."""
    if isinstance(body, dict):
        if isinstance(body.get("data"), list) and set(body) <= {"columns", "data", "index"}:
            return len(body["data"])
        return max((len(v) for v in body.values() if isinstance(v, list)), default=0)
    return len(body) if isinstance(body, list) else 0


def split_key(body):
    if not isinstance(body, dict) or not set(body) <= {"columns", "data"}:
        return None  # an index is the request's own
    rows, columns = body.get("data"), body.get("columns")
    if not rows or not isinstance(rows, list) or set(map(type, rows)) != {list}:
        return None
    width = len(rows[0])
    if columns is not None and not (isinstance(columns, list) and set(map(type, columns)) == {str} and len(set(columns)) == width):
        return None
    if columns is not None and len(columns) != width or any(len(r) != width for r in rows):
        return None
    classes = tuple(map(column_class, zip(*rows)))
    return None if None in classes else (tuple(columns) if columns is not None else None, classes)


def records_key(body, classify=None):
    if not isinstance(body, list) or set(map(type, body)) != {dict}:
        return None
    names = tuple(body[0])
    if any(tuple(r) != names for r in body):
        return None
    classes = tuple((classify or column_class)([r[n] for r in body]) for n in names)
    return None if None in classes or not names else (names, classes)


def inputs_key(body):
    if isinstance(body, dict):
        return dict_key(body)
    return records_key(body) or array_key(body)


def instances_key(body):
    return records_key(body, array_key) or array_key(body)


def dict_key(body):
    values = list(body.values())
    if not values or set(map(type, values)) != {list} or len(set(map(len, values))) != 1:
        return None
    keys = tuple(map(array_key, values))
    return None if None in keys else (tuple(body), keys)


def array_key(values):
    """Of nested lists: the shape of an element, and what numpy makes of all."""
    if not isinstance(values, list):
        return None
    shape = []
    while values:
        kinds = set(map(type, values))
        if kinds != {list}:
            kind = leaf_class(values, kinds)
            return None if kind is None else (tuple(shape), kind)
        lengths = set(map(len, values))
        if len(lengths) != 1:
            return None
        shape.append(lengths.pop())
        values = list(chain.from_iterable(values))
    return None


def leaf_class(values, kinds):
    if kinds == {float}:
        return "f"
    if kinds <= {int, float}:
        if not all(LOWEST <= v < BEYOND for v in values if type(v) is int):
            return None
        return "f" if float in kinds else "i"
    if kinds == {bool}:
        return "b"
    return "s" if kinds == {str} else None


def column_class(values):
    """Of a data frame's column: what pandas makes of it."""
    kinds = set(map(type, values))
    nothing = type(None) in kinds
    kinds.discard(type(None))
    if not kinds:
        return "none"
    if kinds == {list}:
        return None if nothing else array_key(list(values))
    if kinds == {dict}:
        return None if nothing else "d"
    kind = leaf_class([v for v in values if v is not None] if nothing else values, kinds)
    if nothing and kind is not None:
        return {"f": "f", "i": "f", "b": "b?", "s": "s?"}[kind]  # numbers with gaps are floats
    return kind


def joined(forms):
    """The body of all, in their order."""
    first = forms[0]
    bodies = [f.doc[first.format] for f in forms]
    if first.format == "dataframe_split":
        body = {**bodies[0], "data": list(chain.from_iterable(b["data"] for b in bodies))}
    elif isinstance(bodies[0], dict):
        body = {name: list(chain.from_iterable(b[name] for b in bodies)) for name in bodies[0]}
    else:
        body = list(chain.from_iterable(bodies))
    form = Form(first.index, first.kind, {**first.doc, first.format: body}, first.format, sum(f.rows for f in forms))
    return form


def rows_of(form, most):
    """Up to that many requests of one row each, of one with a key. Floats are
    scaled to tell rows apart that may be alike; other values may be indices."""
    body, rows = form.doc[form.format], []
    for r in range(most):
        at = r % form.rows
        scale = 1 + 0.25 * r
        if form.format == "dataframe_split":
            one = {**body, "data": [scaled(body["data"][at], scale)]}
        elif isinstance(body, dict):
            one = {name: [scaled(v[at], scale)] for name, v in body.items()}
        else:
            one = [scaled(body[at], scale)]
        rows.append(one)
    return [form_of(i, form.kind, {**form.doc, form.format: one}, True) for i, one in enumerate(rows)]


def scaled(value, scale):
    if type(value) is float:
        return value * scale
    if isinstance(value, list):
        return [scaled(v, scale) for v in value]
    if isinstance(value, dict):
        return {k: scaled(v, scale) for k, v in value.items()}
    return value


KEYS = {
    "dataframe_split": split_key,
    "dataframe_records": records_key,
    "inputs": inputs_key,
    "instances": instances_key,
}
