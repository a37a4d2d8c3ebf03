package remote

import (
	"compress/gzip"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/remote/remotetest"
)

// ping answers as a scoring server does, whose Authorization header is right.
func ping(want *atomic.Value) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != want.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "3.17.2")
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(file, []byte("from-file\n"), 0o600))
	for name, c := range map[string]struct {
		user string
		set  func(cfg *Config)
		want string
	}{
		"none":             {"", func(*Config) {}, ""},
		"token":            {"", func(cfg *Config) { cfg.Token = "t" }, "Bearer t"},
		"token file":       {"", func(cfg *Config) { cfg.TokenFile = file }, "Bearer from-file"},
		"basic":            {"", func(cfg *Config) { cfg.Username, cfg.Password = "u", "p" }, "Basic dTpw"},
		"password file":    {"", func(cfg *Config) { cfg.Username, cfg.PasswordFile = "u", file }, "Basic dTpmcm9tLWZpbGU="},
		"of the reference": {"u:p@", func(cfg *Config) { cfg.Token = "t" }, "Basic dTpw"},
	} {
		var want atomic.Value
		want.Store(c.want)
		url := serve(t, ping(&want))
		cfg := testConfig()
		c.set(&cfg)
		require.NoError(t, cfg.Validate(), name)
		_, err := newClient(t, cfg, "mlflow+"+strings.Replace(url, "://", "://"+c.user, 1)).Resolve(t.Context())
		require.NoError(t, err, name)
	}
}

// A token that is renewed in its file is taken up when the old one is refused.
func TestTokenIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("old"), 0o600))
	var want atomic.Value
	want.Store("Bearer old")
	cfg := testConfig()
	cfg.TokenFile = file
	c := newClient(t, cfg, "mlflow+"+serve(t, ping(&want)))
	_, err := c.Resolve(t.Context())
	require.NoError(t, err)
	want.Store("Bearer new")
	_, err = c.Resolve(t.Context())
	require.ErrorContains(t, err, "401")
	require.NoError(t, os.WriteFile(file, []byte("new"), 0o600))
	_, err = c.Resolve(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.Remove(file))
	want.Store("Bearer other")
	_, err = c.Resolve(t.Context())
	require.ErrorContains(t, err, "401")
}

func TestTLS(t *testing.T) {
	var want atomic.Value
	want.Store("Bearer t")
	s := httptest.NewUnstartedServer(ping(&want))
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	cfg := testConfig()
	cfg.Token = "t"
	_, err := newClient(t, cfg, "mlflow+"+s.URL).Resolve(t.Context())
	require.ErrorContains(t, err, "certificate")

	cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(cfg.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	r, err := newClient(t, cfg, "mlflow+"+s.URL).Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, "3.17.2", r.Version)
}

// Redirects within a host are followed; others would lead what is sent, and
// this worker's place in its network, to where no configuration does.
func TestRedirects(t *testing.T) {
	var reached atomic.Int64
	other := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		_, _ = io.WriteString(w, "3.17.2")
	})
	var to atomic.Value
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/version" {
			http.Redirect(w, r, to.Load().(string), http.StatusTemporaryRedirect)
			return
		}
		_, _ = io.WriteString(w, "here")
	})
	cfg := testConfig()
	cfg.Token = "t"
	c := newClient(t, cfg, "mlflow+"+url)
	to.Store("/elsewhere")
	r, err := c.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, "here", r.Version)
	for _, target := range []string{other, strings.Replace(url, "http:", "https:", 1) + "/x", "file:///etc/passwd", "/version"} {
		to.Store(target)
		_, err = c.Resolve(t.Context())
		require.ErrorContains(t, err, "redirect", target)
	}
	require.Zero(t, reached.Load())
}

func TestGzip(t *testing.T) {
	cfg := testConfig()
	cfg.Gzip = true
	s := remotetest.New(t, remotetest.Options{Binary: true})
	m := open(t, newClient(t, cfg, s.Ref()))
	var zipped atomic.Int64
	s.Break(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Content-Encoding") == "gzip" && r.Header.Get("Accept-Encoding") == "gzip" {
			plain, err := gzip.NewReader(r.Body)
			if err != nil {
				panic(err)
			}
			r.Body = plain
			zipped.Add(1)
		}
		return false
	})
	for _, n := range []int{1, 200} { // small ones are not worth it
		out, err := m.Predict(t.Context(), rows(n))
		require.NoError(t, err)
		require.Equal(t, []int64{int64(n), 2}, out[0].Shape)
	}
	require.EqualValues(t, 1, zipped.Load())
}

func TestConfig(t *testing.T) {
	require.NoError(t, testConfig().Validate())
	for want, spoil := range map[string]func(*Config){
		"REMOTE_TIMEOUT":            func(c *Config) { c.Timeout = 0 },
		"REMOTE_ATTEMPTS":           func(c *Config) { c.Attempts = 0 },
		"REMOTE_RETRY_AFTER":        func(c *Config) { c.RetryAfter = -1 },
		"REMOTE_CONCURRENCY":        func(c *Config) { c.Concurrency = 5000 },
		"REMOTE_MAX_RESPONSE_BYTES": func(c *Config) { c.MaxResponse = 0 },
		"REMOTE_BREAKER_FAILURES":   func(c *Config) { c.BreakerFailures = 0 },
		"REMOTE_BREAKER_OPEN":       func(c *Config) { c.BreakerOpen = 0 },
		"REMOTE_TOKEN_FILE":         func(c *Config) { c.Token, c.TokenFile = "a", "b" },
		"REMOTE_PASSWORD_FILE":      func(c *Config) { c.Username, c.Password, c.PasswordFile = "a", "b", "c" },
		"REMOTE_USERNAME":           func(c *Config) { c.Username = "a" },
	} {
		cfg := testConfig()
		spoil(&cfg)
		require.ErrorContains(t, cfg.Validate(), want)
	}
	cfg := testConfig()
	cfg.Attempts = 0
	_, err := New(cfg, Ref{}, Observer{})
	require.Error(t, err)
	var e *model.Error
	require.NotErrorAs(t, err, &e)
}
