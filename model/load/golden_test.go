//go:build cgo

package load_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/load"
)

// recorded is a request to a real MLflow's scoring server, and its answer. See
// testdata/mlflow/README.md.
type recorded struct {
	Model       string `json:"model"`
	ContentType string `json:"content_type"`
	Body        string `json:"body"`
	Status      int    `json:"status"`
	Response    string `json:"response"`
}

// notJSON are the bare words that MLflow writes for numbers that JSON has not.
var notJSON = regexp.MustCompile(`-?\b(NaN|Infinity)\b`)

// tooLarge is a fraction in the last column, which is an integer's.
var tooLarge = regexp.MustCompile(`[:,](1e300|1e16)[]}]`)

// Of recordings for trees: numbers that no integer holds, in any column, the
// second, and the third; and an index of two labels for fewer rows.
var (
	beyond       = regexp.MustCompile(`(1e300|3\.5e38|"data": \[\[18446744073709551615)`)
	beyondSecond = regexp.MustCompile(`("b": |\[[^,]*, )(1e300|3\.5e38)`)
	beyondThird  = regexp.MustCompile(`("c": |\[[^,]*, [^,]*, )(1e300|3\.5e38)`)
	oneOfTwo     = regexp.MustCompile(`"index": \[7, 8\], "data": (\[\]|\[\[[^]]*\]\])\}`)
	emptyCell    = regexp.MustCompile(`"a": (\[\[\]\]|\[\]), "b"`)
	narrow       = regexp.MustCompile(`"(inputs|instances|data|dataframe_records)": (\[\[[^],]*(, [^],]*)?\](, \[[^],]*(, [^],]*)?\])*\]|\[[^][{]*\]|\[\{[^,]*(, [^,]*)?\}\])|^a(,b)?\n`)
)

// differs says which answers are not MLflow's on purpose. The titles are those
// of docs/parity.md, where the reasons are. A rule has to apply to a case at
// least, and to none that is answered as MLflow did.
var differs = []struct {
	title  string
	when   func(r *recorded) bool
	status int                      // ours
	says   string                   // part of ours
	body   func(r *recorded) string // ours in full, when it is no error
}{
	{
		title:  "NaN and infinity are null",
		when:   func(r *recorded) bool { return r.Status == http.StatusOK && notJSON.MatchString(r.Response) },
		status: http.StatusOK,
		body:   func(r *recorded) string { return notJSON.ReplaceAllString(r.Response, "null") },
	},
	{
		title: "A list for a model of several inputs is the request's fault",
		when: func(r *recorded) bool {
			return r.Status == http.StatusInternalServerError && strings.Contains(r.Response, "Unable to map numpy array")
		},
		status: http.StatusBadRequest, says: "the model takes several inputs by name",
	},
	{
		title: "A fraction that no integer column holds is refused",
		when: func(r *recorded) bool {
			return r.Status == http.StatusOK && strings.HasPrefix(r.Body, `{"dataframe_`) &&
				(strings.HasSuffix(r.Model, "_cols") && strings.ContainsAny(r.Model[:1], "GHI") && tooLarge.MatchString(r.Body) ||
					r.Model == "L_tensint" && beyond.MatchString(r.Body) ||
					strings.HasSuffix(r.Model, "_mixed") && beyondSecond.MatchString(r.Body) || strings.HasSuffix(r.Model, "_opt") && beyondSecond.MatchString(r.Body) ||
					r.Model == "L_unnamed" && beyondThird.MatchString(r.Body))
		},
		status: http.StatusBadRequest, says: "out of the range of",
	},
	{
		title: "An index has as many labels as there are rows",
		when: func(r *recorded) bool {
			return r.Status == http.StatusOK && (strings.Contains(r.Body, `"index":[0,1],"data":[[1.5,2]]`) || oneOfTwo.MatchString(r.Body))
		},
		status: http.StatusBadRequest, says: " labels",
	},
	{
		title:  "An empty list is no missing value",
		when:   func(r *recorded) bool { return r.Status == http.StatusOK && emptyCell.MatchString(r.Body) },
		status: http.StatusBadRequest, says: "Can not safely convert object",
	},
	{
		title: "Rows have all columns of the model",
		when: func(r *recorded) bool {
			return r.Status == http.StatusOK && (r.Model == "X_plain_none" || r.Model == "X_plain_opt" || r.Model == "S_one_none" && strings.Contains(r.Body, "[]")) && narrow.MatchString(r.Body)
		},
		status: http.StatusBadRequest, says: "INVALID_INPUT",
	},
}

func recordings(t *testing.T, file string) []recorded {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "mlflow", file))
	require.NoError(t, err)
	defer f.Close()
	var all []recorded
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r recorded
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r))
		all = append(all, r)
	}
	require.NoError(t, lines.Err())
	return all
}

// statusOf is the gateway's for a code.
func statusOf(code model.Code) int {
	switch code { //nolint:exhaustive // the others do not come from here
	case model.InvalidInput:
		return http.StatusBadRequest
	case model.UnsupportedMediaType:
		return http.StatusUnsupportedMediaType
	case model.TooLarge:
		return http.StatusRequestEntityTooLarge
	default:
		return http.StatusInternalServerError
	}
}

// answer takes a body through the whole path.
func answer(t *testing.T, s *model.Snapshot, req *model.Request, contentType, body string) (status int, response string) {
	t.Helper()
	err := s.Codec.Decode(req, contentType, []byte(body))
	var out []model.Tensor
	if err == nil {
		out, err = s.Model.Predict(t.Context(), req.Inputs)
	}
	var dst []byte
	if err == nil {
		dst, err = s.Codec.Encode(nil, req, out, s.Name, s.Version)
	}
	known := (*model.Error)(nil)
	switch {
	case err == nil:
		status = http.StatusOK
	case errors.As(err, &known):
		status, dst = statusOf(known.Code), req.EncodeError(nil, known)
	default:
		return http.StatusInternalServerError, err.Error()
	}
	require.True(t, json.Valid(dst), "%s", dst)
	return status, string(dst)
}

func TestAnswersAsMLflowDid(t *testing.T) {
	parity, err := os.ReadFile(filepath.Join("..", "..", "docs", "parity.md"))
	require.NoError(t, err)
	snapshots := map[string]*model.Snapshot{}
	used := make([]int, len(differs))
	var req model.Request // one for all: it is reused by workers, too
	for _, r := range slices.Concat(recordings(t, "scoring.jsonl"), recordings(t, "more.jsonl"), recordings(t, "trees.jsonl")) {
		s := snapshots[r.Model]
		if s == nil {
			s, err = load.Open(t.Context(), options(filepath.Join("testdata", "mlflow", "models", r.Model)))
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Release()) }()
			snapshots[r.Model] = s
		}
		status, response := answer(t, s, &req, r.ContentType, r.Body)
		want, says := r, ""
		for i := range differs {
			if d := &differs[i]; d.when(&r) {
				used[i]++
				want.Status, says = d.status, d.says
				if d.body != nil {
					want.Response = d.body(&r)
				}
			}
		}
		require.Equal(t, want.Status, status, "%s: %s %s\nours: %s\nMLflow's: %s", r.Model, r.ContentType, r.Body, response, r.Response)
		require.Contains(t, response, says)
		if status == http.StatusOK {
			require.Equal(t, want.Response, response, "%s: %s %s", r.Model, r.ContentType, r.Body)
		}
	}
	for i, d := range differs {
		require.NotZero(t, used[i], "no case is answered as %q says: it goes", d.title)
		require.Contains(t, string(parity), "\n### "+d.title+"\n", "docs/parity.md does not say this")
	}
}
