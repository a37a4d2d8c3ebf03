"""One request, or several at once, through MLflow's own parsing, enforcement and
encoding, so that the answers are those of `mlflow models serve`."""

import copy
import inspect
import json
import platform
import re
import sys
import traceback
from io import StringIO

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from mlflow.utils.proto_json_utils import NumpyEncoder, _get_jsonable_obj

from . import v2
from .form import Form, form_of
from .merge import Batcher

try:
    from mlflow.pyfunc.utils.serving_data_parser import is_unified_llm_input
except ImportError:  # before 2.12

    def is_unified_llm_input(body):
        return False


if not hasattr(scoring_server, "infer_and_parse_data") or not hasattr(scoring_server, "parse_csv_input"):
    raise SystemExit(
        f"mlflow {mlflow.__version__} is not supported: its scoring server has no infer_and_parse_data; "
        "2.9 is the oldest that was tried, 3.17 the newest"
    )

FORMATS = ("dataframe_records", "dataframe_split", "instances", "inputs")
CSV, V2 = "text/csv", "application/json; dialect=v2"

# What a message of MLflow is about.
FIELDS = (
    re.compile(r"Model is missing inputs \['([^']*)'\]"),
    re.compile(r"Failed to convert column (.+?) to type"),
    re.compile(r"Incompatible input types for column (.+?)\."),
    re.compile(r"Failed to enforce schema .* column '([^']*)'"),
)


class Refused(Exception):
    """A request that has no prediction, and why."""

    def __init__(self, status, message, field=""):
        super().__init__(message)
        self.status, self.message, self.field = status, message, field


class Answer:
    """What becomes of one request."""

    __slots__ = ("index", "status", "content", "field")

    def __init__(self, index, status, content, field=""):
        self.index, self.status, self.content, self.field = index, status, content, field


class Scorer:
    def __init__(self, model, settings):
        self.model, self.settings = model, settings
        self.metadata = model.metadata
        self.schema = self.metadata.get_input_schema()
        get_params = getattr(self.metadata, "get_params_schema", None)
        self.params_schema = get_params() if get_params else None
        hinted = getattr(self.metadata, "_is_signature_from_type_hint", None)
        self.hinted = bool(hinted and hinted())
        self.takes_params = "params" in inspect.signature(model.predict).parameters
        self.batcher = Batcher(self, settings.get("batch", "auto"), settings.get("max_batch", 1))

    def about(self):
        return {
            "mlflow": mlflow.__version__,
            "python": platform.python_version(),
            "executable": sys.executable,
            "batches": self.batcher.word(),
        }

    def warm(self, examples):
        """Makes the first calls. A model that fails on its own example is refused; one
        that MLflow itself would not take says nothing about the model."""
        for example in examples:
            item = self.read(0, "application/json", example)
            if isinstance(item, Answer):
                continue
            try:
                self.predict(item)
            except Refused as e:
                if e.status == "MODEL_FAILED" and self.settings.get("own"):
                    raise SystemExit(f"the model fails on its own input example: {e.message}") from None
                continue
            self.batcher.probe(item)

    def score(self, kinds, bodies, alone):
        """Yields lists of answers, until each request has its own."""
        items = []
        for index, (kind, body) in enumerate(zip(kinds, bodies)):
            item = self.read(index, kind, body.decode("utf-8"))
            if isinstance(item, Answer):
                yield [item]
            elif alone:
                yield [self.single(item)]
            else:
                items.append(item)
        yield from self.batcher.run(items)

    def single(self, item):
        try:
            return Answer(item.index, "ok", self.encode(item, self.predict(item)))
        except Refused as e:
            return Answer(item.index, e.status, e.message, e.field)

    def read(self, index, kind, text):
        """Returns the Form of a body, or the Answer that refuses it."""
        try:
            if kind == CSV:
                return self.limited(Form(index, kind, text))
            doc = json.loads(text)
            if kind == V2:
                return self.limited(v2.form(index, kind, doc, self.schema))
            return self.limited(form_of(index, kind, doc, self.mergeable(doc)))
        except (v2.Wrong, Refused) as e:
            return Answer(index, e.status, e.message, e.field)
        except (ValueError, RecursionError) as e:
            return Answer(index, "INVALID_INPUT", f"invalid JSON: {e}")
        except Exception as e:  # no body ends the process
            traceback.print_exc()
            return Answer(index, "INVALID_INPUT", f"the body cannot be read: {type(e).__name__}: {e}")

    def mergeable(self, doc):
        return isinstance(doc, dict) and not is_unified_llm_input(doc)

    def limited(self, form):
        most = self.settings.get("max_rows", 0)
        if most and form.rows > most:
            raise Refused("TOO_LARGE", f"{form.rows} rows, more than {most}")
        return form

    def parse(self, form):
        """Returns what the model is called with, and its parameters."""
        if form.kind == CSV:
            data = scoring_server.parse_csv_input(StringIO(form.doc), self.schema)
            form.rows = len(data)
            self.limited(form)
            return data, None
        if form.kind == V2:
            return v2.data(form, self.schema, self.hinted), form.params
        doc = form.doc
        if not isinstance(doc, dict):
            raise Refused("INVALID_INPUT", f"the body has to be an object with exactly one of {', '.join(FORMATS)}")
        if is_unified_llm_input(doc):
            form.unwrapped = True
            names = {p.name for p in self.params_schema.params} if self.params_schema else ()
            return {k: v for k, v in doc.items() if k not in names}, {k: v for k, v in doc.items() if k in names}
        data, params = {k: doc[k] for k in doc if k in FORMATS}, doc.get("params")
        if not self.hinted:
            return scoring_server.infer_and_parse_data(data, self.schema), params
        if "inputs" not in data:
            raise Refused("INVALID_INPUT", "the body has no inputs, which a model with a type hint takes", "inputs")
        return copy.deepcopy(data["inputs"]), params  # the model may change it

    def predict(self, form, quiet=False):
        """Returns the model's own result. What the model raises is written to the
        log, unless quiet: then it will be asked again."""
        try:
            data, params = self.parse(form)
        except Refused:
            raise
        except v2.Wrong as e:
            raise Refused(e.status, e.message, e.field) from None
        except MlflowException as e:
            raise refusal(e) from None
        except Exception as e:
            raise Refused("INVALID_INPUT", f"the body cannot be read: {type(e).__name__}: {e}") from None
        try:
            return self.model.predict(data, params=params) if self.takes_params else self.model.predict(data)
        except MlflowException as e:
            raise refusal(e) from None
        except BaseException as e:  # a model that calls sys.exit, too
            if not quiet:
                traceback.print_exc()
            raise Refused("MODEL_FAILED", f"{type(e).__name__}: {e}") from None

    def encode(self, form, result):
        try:
            if form.kind == V2:
                return v2.encode(form, result, dumps)
            return wrap(form, _get_jsonable_obj(result, pandas_orient="records"))
        except v2.Wrong as e:
            raise Refused(e.status, e.message, e.field) from None
        except Exception as e:
            traceback.print_exc()
            raise Refused("MODEL_FAILED", f"its result makes no JSON: {type(e).__name__}: {e}") from None


def wrap(form, plain):
    return dumps(plain if form.unwrapped else {"predictions": plain})


def refusal(e):
    """What an error of MLflow's is here: its 400 is the request's fault."""
    message, inner = e.message, e.__context__
    if "Failed to enforce" in message and inner is not None:  # whose own message has all of the data in it
        message = getattr(inner, "message", str(inner))
    message = message.replace(scoring_server.SCORING_PROTOCOL_CHANGE_INFO, "").strip()
    enforcing = "Failed to enforce" in e.message or message.startswith("Model is missing inputs")  # 500 before 2.10
    if e.get_http_status_code() != 400 and not enforcing:
        traceback.print_exception(e)
        return Refused("MODEL_FAILED", message)
    found = (pattern.search(message) for pattern in FIELDS)
    field = next((f.group(1).strip("'\"") for f in found if f), "")
    return Refused("INVALID_INPUT", message, field)


def dumps(value):
    """JSON as MLflow writes it, but null for NaN and infinity, which JSON has not."""
    try:
        return json.dumps(value, cls=NumpyEncoder, allow_nan=False)
    except ValueError:
        return json.dumps(finite(value, NumpyEncoder()), allow_nan=False)


def finite(value, encoder):
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(k) if isinstance(k, float) else k: finite(v, encoder) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v, encoder) for v in value]
    return finite(encoder.default(value), encoder)
