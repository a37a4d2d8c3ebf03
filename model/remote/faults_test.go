package remote

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/remote/remotetest"
)

// infer answers inferences alone.
func infer(f http.HandlerFunc) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/infer") {
			return false
		}
		f(w, r)
		return true
	}
}

// TestAnswers has an endpoint answer a row in every way that is none.
func TestAnswers(t *testing.T) {
	const y = `{"name": "Y", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}`
	outputs := func(list string) string { return `{"outputs": [` + list + `]}` }
	type answer struct {
		status int
		header int // bytes of JSON, 0 for no such header
		body   string
	}
	for name, c := range map[string]struct {
		answer
		code model.Code
		why  string
	}{
		"nothing":          {answer{body: ""}, model.Failed, "not V2's JSON"},
		"a page":           {answer{body: "<html>hello</html>"}, model.Failed, "not V2's JSON"},
		"half of it":       {answer{body: outputs(y)[:40]}, model.Failed, "not V2's JSON"},
		"another form":     {answer{body: `{"predictions": [1, 2]}`}, model.Failed, `output "Y" is missing`},
		"no outputs":       {answer{body: outputs("")}, model.Failed, `output "Y" is missing`},
		"two others":       {answer{body: outputs(strings.Replace(y, "Y", "A", 1) + "," + strings.Replace(y, "Y", "B", 1))}, model.Failed, `output "Y" is missing in the answer, which has 2`},
		"twice":            {answer{body: outputs(y + "," + y)}, model.Failed, "comes twice"},
		"another type":     {answer{body: outputs(strings.Replace(y, "FP32", "FP64", 1))}, model.Failed, `datatype "FP64"`},
		"another rank":     {answer{body: outputs(strings.Replace(y, "[1, 2]", "[2]", 1))}, model.Failed, "shape [2]"},
		"another width":    {answer{body: outputs(strings.Replace(y, "[1, 2]", "[1, 3]", 1))}, model.Failed, "shape [1 3]"},
		"a huge shape":     {answer{body: outputs(strings.Replace(y, "[1, 2]", "[1073741824, 2]", 1))}, model.Failed, "elements"},
		"a negative shape": {answer{body: outputs(strings.Replace(y, "[1, 2]", "[-1, 2]", 1))}, model.Failed, "negative"},
		"too few":          {answer{body: outputs(strings.Replace(y, "[1, 2]}", "[1]}", 1))}, model.Failed, "1 elements"},
		"too many":         {answer{body: outputs(strings.Replace(y, "[1, 2]}", "[1, 2, 3]}", 1))}, model.Failed, "more elements"},
		"no data":          {answer{body: outputs(strings.Replace(y, `, "data": [1, 2]`, "", 1))}, model.Failed, "does not hold"},
		"text":             {answer{body: outputs(strings.Replace(y, "[1, 2]}", `["1", "2"]}`, 1))}, model.Failed, "element 0"},
		"objects":          {answer{body: outputs(strings.Replace(y, "[1, 2]}", `[{"a": 1}, 2]}`, 1))}, model.Failed, "element 0"},
		"a bare NaN":       {answer{body: outputs(strings.Replace(y, "[1, 2]}", `[NaN, 2]}`, 1))}, model.Failed, "not V2's JSON"},
		"header too long":  {answer{header: 1000, body: outputs(y)}, model.Failed, "Inference-Header-Content-Length"},
		"cut tensor": {
			answer{header: -1, body: outputs(`{"name": "Y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}`) + "\x00\x00\x00"},
			model.Failed, "8 bytes are said to follow, 3 do",
		},
		"negative size": {
			answer{header: -1, body: outputs(`{"name": "Y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": -8}}`)},
			model.Failed, "-8 bytes",
		},
		"wrong size": {
			answer{header: -1, body: outputs(`{"name": "Y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 4}}`) + "1234"},
			model.Failed, "4 bytes do not fill",
		},
		"bytes left over":   {answer{header: -1, body: outputs(y) + "1234"}, model.Failed, "4 bytes follow"},
		"bad request":       {answer{status: 400, body: `{"error": "X has 3 columns,\n where 4 should be"}`}, model.InvalidInput, "X has 3 columns, where 4 should be"},
		"unprocessable":     {answer{status: 422, body: `{"detail": [{"loc": ["inputs"], "msg": "none"}]}`}, model.InvalidInput, `"msg":"none"`},
		"too large":         {answer{status: 413, body: "<html><title>nginx</title><h1>413 too large</h1></html>"}, model.TooLarge, "413 too large"},
		"not found":         {answer{status: 404, body: `{"error": "no such model"}`}, model.Failed, "no such model"},
		"not allowed":       {answer{status: 405, body: ""}, model.Failed, "Method Not Allowed"},
		"unauthorized":      {answer{status: 401, body: ""}, model.Unavailable, "Unauthorized"},
		"forbidden":         {answer{status: 403, body: ""}, model.Unavailable, "Forbidden"},
		"failed":            {answer{status: 500, body: `{"error": "ValueError: secret path\nTraceback (most recent call last): /srv/x.py\n..."}`}, model.Failed, "ValueError: secret path"},
		"a traceback":       {answer{status: 500, body: "Traceback (most recent call last):\n  File \"/srv/x.py\"\nValueError: secret\n"}, model.Failed, "Internal Server Error (ValueError: secret)"},
		"unavailable":       {answer{status: 503, body: `{"error": "loading"}`}, model.Unavailable, "loading"},
		"bad gateway":       {answer{status: 502, body: "upstream"}, model.Unavailable, "upstream"},
		"too many requests": {answer{status: 429, body: ""}, model.Unavailable, "Too Many Requests"},
		"a redirect":        {answer{status: 302, body: ""}, model.Failed, "redirect"},
	} {
		t.Run(name, func(t *testing.T) {
			s := remotetest.New(t, remotetest.Options{Binary: true, Versions: []string{"1"}})
			m := open(t, newClient(t, testConfig(), s.Ref()))
			s.Break(infer(func(w http.ResponseWriter, _ *http.Request) {
				if c.header != 0 {
					n := c.header
					if n < 0 { // what ends with the last brace
						n = strings.LastIndex(c.body, "}") + 1
					}
					w.Header().Set(headerLength, strconv.Itoa(n))
				}
				w.WriteHeader(max(c.status, http.StatusOK))
				_, _ = io.WriteString(w, c.body)
			}))
			_, err := m.Predict(t.Context(), rows(1))
			var e *model.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.code, e.Code, err)
			require.ErrorContains(t, (&failure{err: err}).cause(), c.why)
			require.NotContains(t, e.Message, "secret") // what the endpoint says of itself is for the log
			require.NotContains(t, fmt.Sprint(e.Err), "/srv")
			s.Break(nil)
			_, err = m.Predict(t.Context(), rows(1))
			require.NoError(t, err)
		})
	}
}

// null is what servers that hold to JSON write for NaN.
func TestNullIsNaN(t *testing.T) {
	s := remotetest.New(t, remotetest.Options{})
	m := open(t, newClient(t, testConfig(), s.Ref()))
	s.Break(infer(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"outputs": [{"name": "renamed", "datatype": "FP32", "shape": [1, 2], "data": [[null, 1e39]]}]}`)
	}))
	out, err := m.Predict(t.Context(), rows(1))
	require.NoError(t, err)
	require.Equal(t, "Y", out[0].Name)
	f := model.View[float32](&out[0])
	require.NotEqual(t, f[0], f[0]) //nolint:testifylint // NaN is not itself
	require.Greater(t, f[1], float32(3e38))
}

// reset closes a connection with the bytes that were written to it.
func reset(w http.ResponseWriter, text string) {
	conn, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = buf.WriteString(text)
	_ = buf.Flush()
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// What is safe is tried again, a bounded number of times, and nothing else is.
func TestRetries(t *testing.T) {
	for name, c := range map[string]struct {
		fails int // so many times, then it works
		fault func(w http.ResponseWriter)
		tries int64
		code  model.Code // "" when it works in the end
	}{
		"reset once":              {1, func(w http.ResponseWriter) { reset(w, "") }, 2, ""},
		"reset for ever":          {99, func(w http.ResponseWriter) { reset(w, "") }, 3, model.Unavailable},
		"reset within the header": {99, func(w http.ResponseWriter) { reset(w, "HTTP/1.1 200 OK\r\nContent-") }, 1, model.Failed},
		"reset within the body": {99, func(w http.ResponseWriter) {
			reset(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"outputs\"")
		}, 1, model.Failed},
		"no HTTP":  {99, func(w http.ResponseWriter) { reset(w, "SSH-2.0-OpenSSH_9.6\r\n") }, 1, model.Failed},
		"503 once": {1, func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }, 2, ""},
		"503 with a short wait": {1, func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, 2, ""},
		"503 with a long wait": {99, func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, 1, model.Unavailable},
		"503 with a date": {99, func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
		}, 1, model.Unavailable},
		"429 twice": {2, func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }, 3, ""},
		"500":       {99, func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }, 1, model.Failed},
		"502":       {99, func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, 1, model.Unavailable},
		"400":       {99, func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) }, 1, model.InvalidInput},
	} {
		t.Run(name, func(t *testing.T) {
			s := remotetest.New(t, remotetest.Options{Binary: true})
			var retried atomic.Int64
			cl := observed(t, testConfig(), s.Ref(), Observer{Retried: func() { retried.Add(1) }})
			m := open(t, cl)
			var tries atomic.Int64
			s.Break(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/infer") || tries.Add(1) > int64(c.fails) {
					return false
				}
				c.fault(w)
				return true
			})
			_, err := m.Predict(t.Context(), rows(1))
			if c.code == "" {
				require.NoError(t, err)
			} else {
				require.Equal(t, c.code, codeOf(t, err), err)
			}
			require.Equal(t, c.tries, tries.Load())
			require.Equal(t, c.tries-1, retried.Load())
		})
	}
}

func TestHang(t *testing.T) {
	cfg := testConfig()
	cfg.Timeout = 100 * time.Millisecond
	for name, head := range map[string]string{"before the answer": "", "within it": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"} {
		s := remotetest.New(t, remotetest.Options{Binary: true})
		m := open(t, newClient(t, cfg, s.Ref()))
		s.Break(infer(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if head != "" {
				conn, buf, err := w.(http.Hijacker).Hijack()
				if err != nil {
					panic(err)
				}
				defer func() { _ = conn.Close() }()
				_, _ = buf.WriteString(head)
				_ = buf.Flush()
				_, _ = conn.Read(make([]byte, 1)) // until the client goes
				return
			}
			<-r.Context().Done()
		}))
		_, err := m.Predict(t.Context(), rows(1))
		require.ErrorIs(t, err, errTimeout, name)
		require.Equal(t, model.Unavailable, codeOf(t, err), name)
	}
}

func TestTooLargeAnswer(t *testing.T) {
	for _, gzip := range []bool{false, true} {
		cfg := testConfig()
		cfg.MaxResponse, cfg.Gzip = 1<<10, gzip
		s := remotetest.New(t, remotetest.Options{Binary: true})
		m := open(t, newClient(t, cfg, s.Ref()))
		s.Break(infer(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(" ", 1<<20))
		}))
		_, err := m.Predict(t.Context(), rows(1))
		require.Equal(t, model.TooLarge, codeOf(t, err))
	}
}
