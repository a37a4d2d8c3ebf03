package gateway_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/gateway"
	"github.com/millrace/millrace/internal/wire"
)

const cards = "inference.cards"

func withCards() gateway.Config {
	cfg := config()
	cfg.CardTopic = cards
	return cfg
}

// tell writes cards as a worker does.
func (w *world) tell(all ...string) {
	w.t.Helper()
	cl, err := kgo.NewClient(append(w.kafka(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	require.NoError(w.t, err)
	defer cl.Close()
	for _, c := range all {
		var key struct{ Name, Version string }
		require.NoError(w.t, json.Unmarshal([]byte(c), &key))
		rec := &kgo.Record{Topic: cards, Key: []byte(key.Name + "/" + key.Version), Value: []byte(c)}
		require.NoError(w.t, cl.ProduceSync(w.t.Context(), rec).FirstErr())
	}
	time.Sleep(6 * time.Second) // the client's first fetch may be of the other partitions alone, and wait for 5 s
}

func card(name, version string) string {
	return `{"name": "` + name + `", "version": "` + version + `", "platform": "onnx_onnxv1",
		"inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 2]}], "outputs": [{"name": "Y", "datatype": "INT64", "shape": [-1]}]}`
}

func TestV2Describes(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.ready(withCards())
		time.Sleep(time.Second) // a gateway is ready before it has read the cards
		ask := func(path string, status int, want string) {
			w.t.Helper()
			got := r.get(path)
			require.Equal(w.t, status, got.status, got.body)
			require.JSONEq(w.t, want, got.body, path)
		}
		ask("/v2", 200, `{"name": "millrace", "version": "1.2", "extensions": ["binary_tensor_data"]}`)
		ask("/v2/health/live", 200, `{"live": true}`)
		ask("/v2/health/ready", 200, `{"ready": true}`)
		ask("/v2/models", 200, `{"models": []}`)
		ask("/v2/models/m", 404, `{"error": "MODEL_NOT_FOUND: no worker serves such a model: \"m\""}`)
		w.tell(card("m", "2"), card("m", "10"), card("a b", "1"))
		ask("/v2/models", 200, `{"models": ["a b", "m"]}`)
		const rest = `"platform": "onnx_onnxv1", "inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 2]}], "outputs": [{"name": "Y", "datatype": "INT64", "shape": [-1]}]`
		ask("/v2/models/m", 200, `{"name": "m", "versions": ["10", "2"], `+rest+`}`)
		ask("/v2/models/m/versions/2", 200, `{"name": "m", "versions": ["10", "2"], `+rest+`}`)
		ask("/v2/models/a%20b/versions/1/ready", 200, `{"name": "a b", "ready": true}`)
		ask("/v2/models/m/ready", 200, `{"name": "m", "ready": true}`)
		ask("/v2/models/m/versions/3", 404, `{"error": "MODEL_NOT_FOUND: model \"m\" has no version \"3\"; served are 10, 2"}`)
		ask("/v2/models/m@champion/ready", 404, `{"error": "MODEL_NOT_FOUND: \"m@champion\": what an alias names is not described; leave it out, or name the version"}`)
		ask("/v2/repository/index", 404, `{"error": "RESOURCE_DOES_NOT_EXIST: there is nothing at this path"}`)
		got := r.do(w.t.Context(), http.MethodPut, "/v2/models/m/infer", nil, nil)
		require.Equal(w.t, []any{405, "POST"}, []any{got.status, got.header.Get("Allow")})
		require.Contains(w.t, got.body, `{"error":`)
	}, requests, replies, kept, cards)
}

func TestV2DescribesNothingWithoutCards(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.ready(config())
		for _, path := range []string{"/v2/models", "/v2/models/m", "/v2/models/m/ready"} {
			got := r.get(path)
			require.Equal(w.t, http.StatusServiceUnavailable, got.status)
			require.JSONEq(w.t, `{"error": "UNAVAILABLE: what the workers serve is not known: MILLRACE_TOPIC_CARDS is none"}`, got.body)
		}
	})
}

// seen is what a worker got.
type seen struct {
	body    []byte
	headers map[string]string
	expiry  time.Duration // from when it came
}

// infers answers with the request's body, and keeps what came.
func (w *world) infers(o outcome) *atomic.Pointer[seen] {
	var last atomic.Pointer[seen]
	w.worker(func(rec *kgo.Record) outcome {
		s := &seen{body: rec.Value, headers: map[string]string{}}
		for _, h := range rec.Headers {
			s.headers[h.Key] = string(h.Value)
		}
		at, _, err := wire.Expiry(rec)
		if err == nil {
			s.expiry = time.Until(at)
		}
		last.Store(s)
		return o
	})
	return &last
}

func TestV2Infers(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.ready(config())
		last := w.infers(outcome{"ok", `{"model_name":"m"}`})
		const body = `{"inputs":[{"name":"X","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}`
		for _, c := range []struct {
			path, kind, length string
			want               map[string]string
		}{
			{"/v2/models/m/infer", "", "", map[string]string{"model": "m", "content-type": "application/json; dialect=v2"}},
			{"/v2/models/m/versions/3/infer", "application/json", "", map[string]string{"model": "m/3", "content-type": "application/json; dialect=v2"}},
			{"/v2/models/m/infer", "Application/JSON; charset=utf-8", "", map[string]string{"model": "m", "content-type": "Application/JSON; charset=utf-8; dialect=v2"}},
			{"/v2/models/a%20b@c/infer", "", strconv.Itoa(len(body)), map[string]string{"model": "a b@c", "content-type": "application/octet-stream", "inference-header-content-length": strconv.Itoa(len(body))}},
			{"/v2/models/m/infer", "application/octet-stream", "7", map[string]string{"model": "m", "content-type": "application/octet-stream", "inference-header-content-length": "7"}},
			{"/predict", "application/octet-stream", "7", map[string]string{"content-type": "application/octet-stream", "inference-header-content-length": "7"}},
		} {
			header := map[string]string{}
			if c.kind != "" {
				header["Content-Type"] = c.kind
			}
			if c.length != "" {
				header["Inference-Header-Content-Length"] = c.length
			}
			got := r.do(w.t.Context(), http.MethodPost, c.path, strings.NewReader(body+"\x00\x00\x80?"), header)
			require.Equal(w.t, http.StatusOK, got.status, got.body)
			require.Zero(w.t, strings.Compare(body+"\x00\x00\x80?", string(last.Load().body)), "untouched")
			for _, name := range []string{"model", "content-type", "inference-header-content-length"} {
				require.Equal(w.t, c.want[name], last.Load().headers[name], "%s of %s", name, c.path)
			}
		}
	})
}

func TestV2Timeout(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.ready(config())
		last := w.infers(outcome{"ok", `{}`})
		for _, c := range []struct {
			body, length, header string
			want                 time.Duration
		}{
			{`{"parameters": {"timeout": 1500000}}`, "", "", 1500 * time.Millisecond},
			{`{"parameters": {"timeout": 1500000}}xxxx`, "36", "", 1500 * time.Millisecond},
			{`{"parameters": {"timeout": 1500000}}`, "", "1", time.Second},
			{`{"parameters": {"timeout": 1500000}}`, "", "5", 1500 * time.Millisecond},
			{`{"parameters": {"timeout": 40000000}}`, "", "", 40 * time.Second},
			{`{"parameters": {"timeout": 9223372036854775807}}`, "", "", 2 * time.Minute},
			{`{"parameters": {"timeout": 0}}`, "", "", 30 * time.Second},
			{`{"parameters": {"timeout": "soon"}}`, "", "", 30 * time.Second},
			{`{"parameters": {"timeout": -5}}`, "", "", 30 * time.Second},
			{`{"x": {"timeout": 5}}`, "", "", 30 * time.Second},
		} {
			header := map[string]string{}
			if c.length != "" {
				header["Inference-Header-Content-Length"] = c.length
			}
			if c.header != "" {
				header["X-Request-Timeout"] = c.header
			}
			got := r.do(w.t.Context(), http.MethodPost, "/v2/models/m/infer", strings.NewReader(c.body), header)
			require.Equal(w.t, http.StatusOK, got.status, got.body)
			require.InDelta(w.t, c.want.Seconds(), last.Load().expiry.Seconds(), 0.05, c.body)
		}
	})
}

func TestV2Errors(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := config()
		cfg.MaxBodyBytes, cfg.Timeout = 64, time.Second
		r := w.ready(cfg)
		post := func(body string, header map[string]string) response {
			return r.do(w.t.Context(), http.MethodPost, "/v2/models/m/infer", strings.NewReader(body), header)
		}
		refused := func(got response, status int, want string) {
			w.t.Helper()
			require.Equal(w.t, status, got.status, got.body)
			require.JSONEq(w.t, want, got.body)
			require.Equal(w.t, "application/json", got.header.Get("Content-Type"))
		}
		refused(post("", nil), 400, `{"error": "INVALID_INPUT: the body is empty"}`)
		refused(post(strings.Repeat("x", 65), nil), 413, `{"error": "TOO_LARGE: the body is larger than 64 bytes"}`)
		refused(post("{}", map[string]string{"X-Request-Timeout": "x"}), 400, `{"error": "INVALID_INPUT: X-Request-Timeout: \"x\" is neither seconds nor a duration such as 500ms"}`)
		refused(post("{}", map[string]string{"Content-Type": "application/octet-stream"}), 400, `{"error": "INVALID_INPUT: the header Inference-Header-Content-Length, which says how many bytes of the body are JSON, is missing"}`)
		got := post("{}", map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
		require.Equal(w.t, 415, got.status)
		require.Contains(w.t, got.body, `-H 'Content-Type: application/json'`)
		require.Equal(w.t, 415, r.post("{}", map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=x"}).status)
		refused(post("{}", nil), 504, `{"error": "DEADLINE_EXCEEDED: no answer came before the request's deadline"}`)
		// What a worker refuses unread comes in MLflow's form.
		answers := map[string]outcome{
			"a": {"MODEL_NOT_FOUND", `{"error_code":"MODEL_NOT_FOUND","message":"no \"m\"","retryable":false}`},
			"b": {"INVALID_INPUT", `{"error":"INVALID_INPUT: X: bad"}`},
			"c": {"INVALID_INPUT", `{"error_code":"INVALID_INPUT","message":"bad","field":"X","retryable":false}`},
			"d": {"INTERNAL", `no JSON`},
		}
		w.worker(func(rec *kgo.Record) outcome { return answers[string(rec.Value)] })
		refused(post("a", nil), 404, `{"error": "MODEL_NOT_FOUND: no \"m\""}`)
		refused(post("b", nil), 400, `{"error": "INVALID_INPUT: X: bad"}`)
		refused(post("c", nil), 400, `{"error": "INVALID_INPUT: X: bad"}`)
		require.Equal(w.t, "no JSON", post("d", nil).body)
		require.Contains(w.t, r.post("a", nil).body, `"error_code"`)
	})
}

func TestCompressedBodies(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := config()
		cfg.MaxBodyBytes = 1000
		r := w.ready(cfg)
		w.worker(echo)
		pack := func(to func(io.Writer) io.WriteCloser, text string) string {
			var b bytes.Buffer
			c := to(&b)
			_, err := io.WriteString(c, text)
			require.NoError(w.t, err)
			require.NoError(w.t, c.Close())
			return b.String()
		}
		gz := func(text string) string {
			return pack(func(to io.Writer) io.WriteCloser { return gzip.NewWriter(to) }, text)
		}
		zl := func(text string) string {
			return pack(func(to io.Writer) io.WriteCloser { return zlib.NewWriter(to) }, text)
		}
		const body = `{"instances": [1]}`
		for _, c := range []struct {
			encoding, body string
			status         int
			want           string
		}{
			{"gzip", gz(body), 200, body},
			{"GZIP", gz(body), 200, body},
			{"deflate", zl(body), 200, body},
			{"identity", body, 200, body},
			{"br", body, 415, `content encoding \"br\" is none of gzip, deflate and identity`},
			{"gzip", body, 400, "the body is not what Content-Encoding says"},
			{"deflate", body, 400, "the body is not what Content-Encoding says"},
			{"gzip", gz(body)[:20], 400, "the body is not what Content-Encoding says"},
			{"gzip", gz(""), 400, "the body is empty"},
			{"gzip", gz(strings.Repeat("x", 1001)), 413, "the body is larger than 1000 bytes"},
			{"gzip", gz(strings.Repeat("x", 1<<20)), 413, "the body is larger than 1000 bytes"},
		} {
			got := r.post(c.body, map[string]string{"Content-Encoding": c.encoding})
			require.Equal(w.t, c.status, got.status, got.body)
			require.Contains(w.t, got.body, c.want)
		}
	})
}

func TestMLflowsProbes(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.ready(config())
		for _, path := range []string{"/ping", "/health"} {
			got := r.get(path)
			require.Equal(w.t, []any{200, "\n", "application/json"}, []any{got.status, got.body, got.header.Get("Content-Type")})
		}
		got := r.get("/version")
		require.Equal(w.t, []any{200, "3.17.2"}, []any{got.status, got.body})
	})
	inWorld(t, func(w *world) {
		got := w.start(config()).get("/ping")
		require.Equal(w.t, 503, got.status)
		require.Contains(w.t, got.body, "reason")
	}, "other")
}
