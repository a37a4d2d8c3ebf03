package page

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/card"
)

func TestTheLastMinutesAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGlance()
		for i := range 100 {
			a := Answer{Status: 200, Code: "ok", Model: "m", Version: "1", Worker: "a", Took: 10 * time.Millisecond}
			if i%10 == 9 {
				a = Answer{Status: 503, Code: "UNAVAILABLE", Message: strings.Repeat("x", 400), Model: "m", Version: "2", Worker: "b", Took: time.Second}
			}
			g.Observe(&a)
			time.Sleep(100 * time.Millisecond)
		}
		p := g.Past()
		require.InDelta(t, 10, p.Rate, 0.01)
		require.InDelta(t, 0.1, p.Errors, 0.001)
		require.InEpsilon(t, 10, *p.P50, 0.25)
		require.InEpsilon(t, 1000, *p.P99, 0.25)
		require.Equal(t, []Share{{"m", "1", 90}, {"m", "2", 10}}, p.Versions)
		require.Equal(t, []Share{{"a", "", 90}, {"b", "", 10}}, p.Workers)
		require.Len(t, p.History, 10)
		require.Equal(t, 10, p.History[3].Answered)
		require.Equal(t, 1, p.History[3].Failed)
		require.Len(t, p.Failures, 10)
		require.Len(t, p.Failures[0].Message, mostMessage+len("…"))

		time.Sleep(2 * time.Minute)
		p = g.Past()
		require.Zero(t, p.Rate)
		require.Nil(t, p.P50)
		require.Empty(t, p.Versions)
		require.Len(t, p.History, 130)
		time.Sleep(kept * time.Second)
		require.Len(t, g.Past().History, kept-1)
		require.Len(t, g.Past().Failures, 10)
	})
}

func TestTimesFallIntoTheirBuckets(t *testing.T) {
	for _, d := range []time.Duration{0, 50 * time.Microsecond, time.Millisecond, 37 * time.Millisecond, 3 * time.Second, time.Minute, time.Hour} {
		var times [buckets]uint32
		times[bucketOf(d)]++
		upper := *quantile(&times, 0.5)
		seconds := min(d.Seconds(), 127) // an hour is more than the last one holds
		require.GreaterOrEqual(t, upper/1000, seconds*0.9999, d)
		require.LessOrEqual(t, upper/1000, max(smallest, seconds*growth*1.0001), d)
	}
}

func cards() []card.Card {
	return []card.Card{
		{
			Name: "frame", Version: "3", Example: json.RawMessage(`{"dataframe_split": {"columns": ["a"], "data": [[1]]}}`),
			Signature: &card.Signature{Inputs: json.RawMessage(`[{"name": "a", "type": "double"}, {"name": "b", "type": "string", "required": false},
				{"name": "c", "type": "long"}, {"name": "d", "type": "datetime"}, {"name": "e", "type": "array", "items": {"type": "long"}}]`)},
		},
		{Name: "one tensor", Version: "1", Signature: &card.Signature{Inputs: json.RawMessage(`[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]`)}},
		{Name: "named", Version: "1", Signature: &card.Signature{Inputs: json.RawMessage(`[{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]`)}},
		{Name: "unsigned", Version: "1"},
	}
}

func TestTheDescriptionFollowsTheSignatures(t *testing.T) {
	text, err := json.Marshal(OpenAPI(cards()))
	require.NoError(t, err)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema   struct{ AnyOf []map[string]string }
					Examples map[string]struct{ Value json.RawMessage }
				}
			} `json:"requestBody"`
		}
		Components struct{ Schemas map[string]json.RawMessage }
	}
	require.NoError(t, json.Unmarshal(text, &doc))
	require.Equal(t, "3.1.0", doc.OpenAPI)
	body := doc.Paths["/predict"]["post"].RequestBody.Content["application/json"]
	require.Len(t, body.Schema.AnyOf, 4)
	for _, ref := range body.Schema.AnyOf {
		require.Contains(t, doc.Components.Schemas, strings.TrimPrefix(ref["$ref"], "#/components/schemas/"))
	}
	require.JSONEq(t, `{"dataframe_split": {"columns": ["a"], "data": [[1]]}}`, string(body.Examples["frame.3"].Value))
	frame := string(doc.Components.Schemas["frame.3"])
	require.Contains(t, frame, `"required":["a","c","d","e"]`)
	require.Contains(t, frame, `"a":{"type":"number"}`)
	require.Contains(t, frame, `"d":{"format":"date-time","type":"string"}`)
	require.JSONEq(t, `{"title": "one tensor 1", "type": "object", "required": ["inputs"], "properties": {"inputs":
		{"type": "array", "items": {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}}}}}`, string(doc.Components.Schemas["one_tensor.1"]))
	require.Contains(t, string(doc.Components.Schemas["named.1"]), `"x":{"items":{"type":"integer"},"type":"array"}`)
	require.Contains(t, string(doc.Components.Schemas["unsigned.1"]), "without a signature")

	none, err := json.Marshal(OpenAPI(nil))
	require.NoError(t, err)
	require.Contains(t, string(none), `"/predict"`)
}

func TestThePagesAskNobodyElse(t *testing.T) {
	mux := http.NewServeMux()
	Handle(mux)
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w
	}
	for path, kind := range map[string]string{"/": "text/html", "/docs": "text/html", "/ui/pool.js": "text/javascript", "/ui/docs.js": "text/javascript", "/ui/common.js": "text/javascript", "/ui/style.css": "text/css"} {
		w := get(path)
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Contains(t, w.Header().Get("Content-Type"), kind)
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
		body := strings.ReplaceAll(w.Body.String(), "http://www.w3.org/2000/svg", "")
		require.NotContains(t, body, "http://")
		require.NotContains(t, body, "https://")
		require.NotContains(t, body, "onclick=")
		require.NotContains(t, body, "innerHTML", "what comes from records must stay text")
	}
	for _, path := range []string{"/ui/nothing", "/ui/..%2fpage.go", "/other"} {
		require.Equal(t, http.StatusNotFound, get(path).Code, path)
	}
}
