package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
)

// scorer is a scoring server that answers with what it was sent.
func scorer(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	return "mlflow+" + serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ping":
		case "/version":
			_, _ = io.WriteString(w, "3.17.2\n")
		case "/invocations":
			answer(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(string(body))
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintf(w, `{"predictions": [%q, %s]}`, r.Header.Get("Content-Type"), text)
}

// raw is a call of several bodies, in pairs with their content types.
func raw(pairs ...string) []model.Tensor {
	in := []model.Tensor{{Name: "content_type", DType: model.String}, {Name: "body", DType: model.String}}
	for i := 0; i < len(pairs); i += 2 {
		in[0].Strings, in[1].Strings = append(in[0].Strings, pairs[i]), append(in[1].Strings, pairs[i+1])
	}
	for i := range in {
		in[i].Shape = []int64{int64(len(pairs) / 2)}
	}
	return in
}

func TestScoring(t *testing.T) {
	c := newClient(t, testConfig(), scorer(t, echo))
	r, err := c.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, "3.17.2", r.Version)
	require.Equal(t, c.Ref().Name(), r.Name)
	m := open(t, c)
	require.Equal(t, model.RawInfo(), m.Info())
	var pairs []string
	for i := range 50 {
		pairs = append(pairs, []string{model.RawJSON, model.RawCSV}[i%2], fmt.Sprintf(`{"inputs": [%d]}`, i))
	}
	pairs = append(pairs, model.RawV2, "{}")
	out, err := m.Predict(t.Context(), raw(pairs...))
	require.NoError(t, err)
	require.Len(t, out, 3)
	for i := range 50 {
		require.Equal(t, "ok", out[0].Strings[i])
		require.JSONEq(t, fmt.Sprintf(`{"predictions": [%q, "{\"inputs\": [%d]}"]}`, pairs[2*i], i), out[1].Strings[i])
	}
	require.Equal(t, string(model.UnsupportedMediaType), out[0].Strings[50])

	require.NoError(t, m.Close())
	_, err = m.Predict(t.Context(), raw(pairs...))
	require.ErrorIs(t, err, ErrClosed)
}

// A row's fault is its own; MLflow's sentence is handed on, its traceback is not.
func TestScoringErrors(t *testing.T) {
	m := open(t, newClient(t, testConfig(), scorer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		status, text, _ := strings.Cut(string(body), " ")
		if status == "slow" {
			<-r.Context().Done()
			return
		}
		n := 0
		_, _ = fmt.Sscan(status, &n)
		w.WriteHeader(n)
		_, _ = io.WriteString(w, text)
	})))
	const failed = `{"error_code": "BAD_REQUEST", "message": "Incompatible input types for column b.", "stack_trace": "Traceback (most recent call last): /srv"}`
	out, err := m.Predict(t.Context(), raw(
		model.RawJSON, "200 {}", model.RawJSON, "400 "+failed, model.RawJSON, "500 "+failed, model.RawJSON, "415 no",
		model.RawJSON, `200 {"predictions": [NaN, -Infinity, "NaN \" NaN", Infinity]}`, model.RawJSON, "200 <html>", model.RawJSON, "413 x", model.RawJSON, "404 x",
	))
	require.NoError(t, err)
	require.Equal(t, []string{"ok", "INVALID_INPUT", "MODEL_FAILED", "MODEL_FAILED", "ok", "MODEL_FAILED", "TOO_LARGE", "MODEL_NOT_FOUND"}, out[0].Strings)
	require.Equal(t, "Incompatible input types for column b.", out[1].Strings[1])
	require.NotContains(t, strings.Join(out[1].Strings, ""), "Traceback")
	require.JSONEq(t, `{"predictions": [null, null, "NaN \" NaN", null]}`, out[1].Strings[4])

	_, err = m.Predict(t.Context(), raw(model.RawJSON, "200 {}", model.RawJSON, "503 x"))
	require.Equal(t, model.Unavailable, codeOf(t, err)) // the whole call may be tried again
	_, err = m.Predict(t.Context(), raw(model.RawJSON, "200 {}")[:1])
	require.Equal(t, model.InvalidInput, codeOf(t, err))
}

func TestScoringIsBounded(t *testing.T) {
	var now, most atomic.Int64
	m := open(t, newClient(t, testConfig(), scorer(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		now.Add(-1)
		_, _ = io.WriteString(w, "{}")
	})))
	_, err := m.Predict(t.Context(), raw(strings.Split(strings.Repeat(model.RawJSON+"|{}|", 99)+model.RawJSON+"|{}", "|")...))
	require.NoError(t, err)
	require.LessOrEqual(t, most.Load(), int64(4))
}

func TestScoringServerThatIsNone(t *testing.T) {
	for want, f := range map[string]http.HandlerFunc{
		"not the version": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hello there</html>") },
		"status 404":      http.NotFound,
	} {
		_, err := newClient(t, testConfig(), "mlflow+"+serve(t, f)).Resolve(t.Context())
		require.ErrorContains(t, err, want)
	}
	_, err := newClient(t, testConfig(), "mlflow+"+serve(t, http.NotFound)).Resolve(t.Context())
	require.ErrorIs(t, err, ErrNotReady)
}

func TestStrict(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": [1, 2]}`:                  `{"a": [1, 2]}`,
		`[NaN,Infinity,-Infinity,-1]`:    `[null,null,null,-1]`,
		`{"NaN": "\\\"NaN", "b": "NaN"}`: `{"NaN": "\\\"NaN", "b": "NaN"}`,
		`["unterminated NaN`:             `["unterminated NaN`,
	} {
		require.Equal(t, want, string(strict([]byte(in))))
	}
}

func FuzzStrict(f *testing.F) {
	f.Add([]byte(`{"a": [NaN, "NaN", -Infinity]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if out := strict(body); json.Valid(body) && string(out) != string(body) {
			t.Fatal(errors.New("valid JSON was changed"))
		}
	})
}
