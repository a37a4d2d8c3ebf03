package remote

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig is quick to give up.
func testConfig() Config {
	return Config{
		Timeout: 10 * time.Second, Attempts: 3, RetryAfter: time.Second, Concurrency: 4, MaxResponse: 1 << 20,
		BreakerFailures: 100, BreakerOpen: time.Minute, RetryBase: time.Millisecond,
	}
}

func newClient(t *testing.T, cfg Config, ref string) *Client {
	t.Helper()
	return observed(t, cfg, ref, Observer{})
}

func observed(t *testing.T, cfg Config, ref string, obs Observer) *Client {
	t.Helper()
	r, err := ParseRef(ref)
	require.NoError(t, err)
	c, err := New(cfg, r, obs)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// open resolves and opens what a reference names.
func open(t *testing.T, c *Client) model.Model {
	t.Helper()
	r, err := c.Resolve(t.Context())
	require.NoError(t, err)
	m, err := c.Open(t.Context(), r)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// rows makes n rows of the test server's input.
func rows(n int) []model.Tensor {
	data := make([]float32, 4*n)
	for i := range data {
		data[i] = float32((i*7919)%1000) / 4
	}
	return []model.Tensor{{Name: "X", DType: model.Float32, Shape: []int64{int64(n), 4}, Data: model.BytesOf(data)}}
}

// serve starts a server that is one function.
func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

// codeOf is the code of an error that is a model's.
func codeOf(t *testing.T, err error) model.Code {
	t.Helper()
	var e *model.Error
	require.ErrorAs(t, err, &e)
	return e.Code
}
