//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// asked is a request of these tests.
type asked struct{ model, contentType, body string }

// answered is what came back.
type answered struct{ status, value string }

// python is the interpreter of the real MLflow.
func python(t *testing.T) string {
	t.Helper()
	return filepath.Join(fetched(t, "fetch-venv.sh", "mlflow"), "bin", "python")
}

// script runs a program of testdata against the registry and reads what it prints.
func (r *registry) script(t *testing.T, env []string, name string, in, out any, args ...string) {
	t.Helper()
	stdin, err := json.Marshal(in)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), python(t), append([]string{filepath.Join("testdata", name)}, args...)...)
	cmd.Env = inherited(append(env, "MLFLOW_TRACKING_URI="+r.url, "MLFLOW_DISABLE_TELEMETRY=true")...)
	text, err := runWith(cmd, stdin)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text[bytes.LastIndexByte(bytes.TrimSpace(text), '\n')+1:], out), "%s", text)
}

// exchange sends requests, in one batch, and returns their answers.
func exchange(t *testing.T, b *broker, all []asked) []answered {
	t.Helper()
	consumer := b.client(t, kgo.ConsumeTopics(results), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	producer := b.client(t, kgo.ProducerLinger(50*time.Millisecond))
	begun := strconv.FormatInt(time.Now().UnixNano(), 36)
	var recs []*kgo.Record
	for i, a := range all {
		recs = append(recs, &kgo.Record{Topic: requests, Value: []byte(a.body), Headers: []kgo.RecordHeader{
			{Key: wire.CorrelationID, Value: fmt.Appendf(nil, "%s-%d", begun, i)},
			{Key: wire.Model, Value: []byte(a.model)},
			{Key: wire.ContentType, Value: []byte(a.contentType)},
		}})
	}
	require.NoError(t, producer.ProduceSync(t.Context(), recs...).FirstErr())
	got := make([]answered, len(all))
	deadline := time.Now().Add(5 * time.Minute)
	for left := len(all); left > 0; {
		require.True(t, time.Now().Before(deadline), "%d of %d requests are not answered", left, len(all))
		consumer.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
			id, _ := wire.Header(r, wire.CorrelationID)
			n, ours := strings.CutPrefix(string(id), begun+"-")
			if !ours {
				return
			}
			i, err := strconv.Atoi(n)
			require.NoError(t, err)
			status, _ := wire.Header(r, wire.Status)
			require.Empty(t, got[i].status, "request %d is answered twice", i)
			got[i] = answered{string(status), string(r.Value)}
			left--
		})
	}
	return got
}

// requireSame compares answers: all but floats exactly, those within what another
// order of summing makes of them, and null where MLflow has NaN.
func requireSame(t *testing.T, want, got string, of asked) {
	t.Helper()
	if want == got {
		return
	}
	want = strings.NewReplacer("NaN", "null", "-Infinity", "null", "Infinity", "null").Replace(want)
	var a, b any
	require.NoError(t, json.Unmarshal([]byte(want), &a), want)
	require.NoError(t, json.Unmarshal([]byte(got), &b), got)
	require.True(t, near(a, b), "%+v:\n%s\n%s", of, want, got)
	require.Equal(t, strings.Count(want, "."), strings.Count(got, "."), "%+v: floats stay floats:\n%s\n%s", of, want, got)
}

func near(a, b any) bool {
	switch x := a.(type) {
	case float64:
		y, ok := b.(float64)
		return ok && (x-y <= 1e-6*max(1, x, -x) && y-x <= 1e-6*max(1, x, -x))
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, near)
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, near)
	default:
		return a == b
	}
}

// drawn makes requests of all models, good and bad, the same ones each time.
func drawn(n int) []asked {
	r := rand.New(rand.NewPCG(7, 7))
	var all []asked
	for range n {
		switch r.IntN(9) {
		case 0, 1, 2:
			all = append(all, asked{"sklearn", "application/json", table(r, []string{"sepal_length", "sepal_width", "petal_length", "petal_width"}, number)})
		case 3:
			all = append(all, asked{"sklearn", "text/csv", fmt.Sprintf("sepal_length,sepal_width,petal_length,petal_width\n%v,%v,1,2.5\n", r.Float64(), r.Float64())})
		case 4, 5:
			cell := map[string]func(*rand.Rand) string{"colour": word, "size": number, "count": func(r *rand.Rand) string { return strconv.Itoa(r.IntN(9)) }}
			all = append(all, asked{"pipeline", "application/json", tableOf(r, []string{"colour", "size", "count"}, func(r *rand.Rand, c string) string { return cell[c](r) })})
		case 6:
			all = append(all, asked{"custom", "application/json", custom(strings.Trim(word(r), `"`), r.Float64(), false)})
		case 7:
			all = append(all, asked{"mean", "application/json", fmt.Sprintf(`{"inputs": [[%v, %v]]}`, r.Float64(), r.Float64())},
				asked{"mean", "application/json", fmt.Sprintf(`{"dataframe_records": [{"a": %v}, {"a": %v}]}`, r.Float64(), r.Float64())})
		default:
			all = append(all, asked{[]string{"sklearn", "pipeline", "custom", "mean"}[r.IntN(4)], "application/json", odd[r.IntN(len(odd))]})
		}
	}
	return all
}

// odd are bodies that some models refuse.
var odd = []string{
	`{"inputs": [[1, 2]]}`, `{"inputs": []}`, `{"instances": [1.5]}`, `{"inputs": "x"}`, `{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}`,
	`{"dataframe_split": []}`, `{"dataframe_records": {}}`, `{"dataframe_records": []}`, `{"inputs": [1], "instances": [1]}`, `{"other": 1}`, `[]`, `7`,
	`{"dataframe_records": [{"text": "a", "x": "2.5"}]}`, `{"dataframe_records": [{"text": "a", "x": 1, "more": 2}], "params": {"factor": 3}}`,
	`{"dataframe_records": [{"text": "a", "x": 1}], "params": {"factor": "x"}}`, `{"dataframe_records": [{"text": null, "x": null}]}`,
	`{"dataframe_records": [{"colour": "red", "size": null, "count": 1}]}`, `{"dataframe_records": [{"colour": 1, "size": 1, "count": 1}]}`,
	`{"dataframe_records": [{"colour": "red", "size": 1, "count": 1.5}]}`, `{"inputs": {"text": ["a", "b"], "x": [1.5, 2]}}`,
	`{"inputs": [[0.5, NaN, 1, 2], [1, 2, 3, 4.5]]}`, `{"messages": []}`,
}

func table(r *rand.Rand, columns []string, cell func(*rand.Rand) string) string {
	return tableOf(r, columns, func(r *rand.Rand, _ string) string { return cell(r) })
}

// tableOf is a data frame, in one of its forms.
func tableOf(r *rand.Rand, columns []string, cell func(*rand.Rand, string) string) string {
	rows := make([][]string, 1+r.IntN(3))
	for i := range rows {
		for _, c := range columns {
			rows[i] = append(rows[i], cell(r, c))
		}
	}
	var parts []string
	switch r.IntN(3) {
	case 0:
		for _, row := range rows {
			parts = append(parts, "["+strings.Join(row, ", ")+"]")
		}
		names, _ := json.Marshal(columns)
		return fmt.Sprintf(`{"dataframe_split": {"columns": %s, "data": [%s]}}`, names, strings.Join(parts, ", "))
	case 1:
		for _, row := range rows {
			var cells []string
			for i, c := range columns {
				cells = append(cells, fmt.Sprintf("%q: %s", c, row[i]))
			}
			parts = append(parts, "{"+strings.Join(cells, ", ")+"}")
		}
		return fmt.Sprintf(`{"dataframe_records": [%s]}`, strings.Join(parts, ", "))
	default:
		for i, c := range columns {
			var cells []string
			for _, row := range rows {
				cells = append(cells, row[i])
			}
			parts = append(parts, fmt.Sprintf("%q: [%s]", c, strings.Join(cells, ", ")))
		}
		return fmt.Sprintf(`{"%s": {%s}}`, []string{"inputs", "instances"}[r.IntN(2)], strings.Join(parts, ", "))
	}
}

func number(r *rand.Rand) string {
	if r.IntN(5) == 0 {
		return strconv.Itoa(r.IntN(7))
	}
	return strconv.FormatFloat(r.Float64()*7, 'g', -1, 64)
}

func word(r *rand.Rand) string { return []string{`"red"`, `"blue"`, `"grün"`, `"black"`}[r.IntN(4)] }
