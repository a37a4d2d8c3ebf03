//go:build integration

package integration

import (
	"net/http"
	"regexp"
	"strings"
)

// difference is one that is there on purpose. The first that applies is the one
// that an answer is held against.
type difference struct {
	reason string // words of docs/parity.md
	when   func(a *asked, theirs reply) bool
	status int                        // ours
	says   string                     // a part of ours
	body   func(theirs string) string // ours in full, when it is a prediction that can be told from theirs
}

var notNumbers = strings.NewReplacer("-Infinity", "null", "Infinity", "null", "NaN", "null")

// tooLarge is, by model, a fraction in the column of integers, in any form.
var tooLarge = map[string]*regexp.Regexp{
	"onnx":     regexp.MustCompile(`"n": (\[[^]]*)?1e(16|300)\b|(\[|, )\[[^],]*, [^],]*, 1e(16|300)\b`),
	"lightgbm": regexp.MustCompile(`"n": (\[[^]]*)?1e300\b|(\[|, )\[[^],]*, [^],]*, 1e300\b`),
	"tensors":  regexp.MustCompile(`"B": (\[[^]]*)?1e300\b|\], 1e300\]`),
}

// unreadable is half of a surrogate pair in a column that the model does not
// have, or that takes any text for true.
var unreadable = regexp.MustCompile(`"(ünknown|k)": (\[[^]]*)?"\\ud800"|"ünknown"\].*"\\ud800"\]`)

var onPurpose = []difference{
	{
		reason: "No content type at all is JSON, where MLflow fails with 500",
		when: func(a *asked, theirs reply) bool {
			return a.contentType == "" && theirs.status == http.StatusInternalServerError
		},
		status: http.StatusOK, says: `{"predictions": `,
	},
	{
		reason: "The names are read in either case, a charset may be quoted",
		when: func(a *asked, theirs reply) bool {
			return (a.contentType == "Application/JSON" || strings.HasSuffix(a.contentType, `"utf-8"`)) && theirs.status == http.StatusUnsupportedMediaType
		},
		status: http.StatusOK, says: `{"predictions": `,
	},
	{
		reason: "Parquet (`application/vnd.apache.parquet`) is UNSUPPORTED_MEDIA_TYPE",
		when: func(a *asked, theirs reply) bool {
			return strings.HasSuffix(a.contentType, "parquet") && theirs.status == http.StatusBadRequest
		},
		status: http.StatusUnsupportedMediaType, says: `"UNSUPPORTED_MEDIA_TYPE"`,
	},
	{
		reason: "Nesting deeper than 128 levels is INVALID_INPUT",
		when: func(a *asked, theirs reply) bool {
			return strings.Contains(a.body, strings.Repeat("[", 129)) && theirs.status == http.StatusOK
		},
		status: http.StatusBadRequest, says: `"INVALID_INPUT"`,
	},
	{
		reason: "## Open Inference Protocol V2 MLflow's server does not speak it",
		when: func(a *asked, theirs reply) bool {
			return a.model == "tensor" && strings.Contains(a.body, `"datatype"`) && theirs.status == http.StatusBadRequest
		},
		status: http.StatusOK, says: `"outputs":[{"name":"Y","shape":[1,2],"datatype":"FP32","data":[10,1]}]`,
	},
	{
		reason: "### NaN and infinity are null",
		when: func(_ *asked, theirs reply) bool {
			return theirs.status == http.StatusOK && notNumbers.Replace(theirs.body) != theirs.body
		},
		status: http.StatusOK, body: notNumbers.Replace,
	},
	{
		reason: "### A list for a model of several inputs is the request's fault",
		when: func(_ *asked, theirs reply) bool {
			return theirs.status == http.StatusInternalServerError && strings.Contains(theirs.body, "Unable to map numpy array")
		},
		status: http.StatusBadRequest, says: "the model takes several inputs by name",
	},
	{
		reason: "### A fraction that no integer column holds is refused",
		when: func(a *asked, theirs reply) bool {
			column := tooLarge[a.model]
			return column != nil && theirs.status == http.StatusOK && column.MatchString(a.body)
		},
		status: http.StatusBadRequest, says: "out of the range of",
	},
	{
		reason: "### An index has as many labels as there are rows",
		when: func(a *asked, theirs reply) bool {
			return a.model != "sklearn" && theirs.status == http.StatusOK && strings.Contains(a.body, `"index": [7, 8]`)
		},
		status: http.StatusBadRequest, says: "not a list of 1 labels",
	},
	{
		reason: "An exception of the model itself, for which MLflow also answers 400, is MODEL_FAILED",
		when: func(a *asked, theirs reply) bool {
			return a.model == "sklearn" && theirs.status == http.StatusBadRequest && strings.Contains(theirs.body, "unexpected error while evaluating the model")
		},
		status: http.StatusInternalServerError, says: `"MODEL_FAILED"`,
	},
	{
		reason: "Half of a surrogate pair in a column that takes no text is not looked at",
		when: func(a *asked, theirs reply) bool {
			return a.model != "sklearn" && a.model != "unsigned" && unreadable.MatchString(a.body) && strings.Contains(theirs.body, "surrogates not allowed")
		},
		status: http.StatusOK, says: `{"predictions": `,
	},
}
