package remote

import (
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/remote/remotetest"
)

func TestBreakerKeepsRequestsBack(t *testing.T) {
	cfg := testConfig()
	cfg.BreakerFailures, cfg.Attempts = 4, 3
	s := remotetest.New(t, remotetest.Options{Binary: true})
	results := map[string]int{}
	c := observed(t, cfg, s.Ref(), Observer{Requested: func(result string, _ time.Duration) { results[result]++ }})
	m := open(t, c)
	var down atomic.Int64
	s.Break(infer(func(w http.ResponseWriter, _ *http.Request) {
		down.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	for range 5 {
		_, err := m.Predict(t.Context(), rows(1))
		require.Equal(t, model.Unavailable, codeOf(t, err))
	}
	require.EqualValues(t, 4, down.Load())
	require.Equal(t, map[string]int{ResultUnavailable: 4, ResultBroken: 4}, results)
	require.Equal(t, Open, c.Status().Breaker)
	require.Contains(t, c.Status().LastError, "503")
	require.Equal(t, s.URL, c.Status().URL)
	_, err := c.Resolve(t.Context()) // polls go on
	require.NoError(t, err)
}

func TestConnectionRefused(t *testing.T) {
	s := remotetest.New(t, remotetest.Options{Binary: true})
	c := newClient(t, testConfig(), s.Ref())
	m := open(t, c)
	s.Close()
	_, err := m.Predict(t.Context(), rows(1))
	require.Equal(t, model.Unavailable, codeOf(t, err))
	require.Equal(t, 3, c.Status().Failures)
	_, err = c.Resolve(t.Context())
	require.ErrorContains(t, err, "refused")
}

// One connection serves calls that follow each other.
func TestConnectionsAreReused(t *testing.T) {
	s := remotetest.New(t, remotetest.Options{Binary: true})
	m := open(t, newClient(t, testConfig(), s.Ref()))
	conns := make(chan string, 20)
	s.Break(func(_ http.ResponseWriter, r *http.Request) bool {
		conns <- r.RemoteAddr
		return false
	})
	for range cap(conns) {
		_, err := m.Predict(t.Context(), rows(1))
		require.NoError(t, err)
	}
	first := <-conns
	for range cap(conns) - 1 {
		require.Equal(t, first, <-conns)
	}
}

// No more requests run at a time than are allowed.
func TestConcurrencyIsBounded(t *testing.T) {
	s := remotetest.New(t, remotetest.Options{Binary: true})
	m := open(t, newClient(t, testConfig(), s.Ref()))
	v2, ok := m.(*v2Model)
	require.True(t, ok)
	v2.LimitRows(1)
	var now, most atomic.Int64
	full := make(chan struct{}) // closed when as many run as may
	s.Break(infer(func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if n == 4 && most.Load() == 4 {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		<-full
		now.Add(-1) // before the client knows
		_, _ = io.WriteString(w, `{"outputs": [{"name": "Y", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}`)
	}))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := m.Predict(t.Context(), rows(16)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 4, most.Load())
}

func TestMissingFiles(t *testing.T) {
	ref, err := ParseRef("v2+http://h/m")
	require.NoError(t, err)
	cfg := testConfig()
	cfg.CAFile = t.TempDir() + "/none"
	_, err = New(cfg, ref, Observer{})
	require.ErrorContains(t, err, "MILLRACE_REMOTE_CA_FILE")
	require.NoError(t, os.WriteFile(cfg.CAFile, []byte("nothing"), 0o600))
	_, err = New(cfg, ref, Observer{})
	require.ErrorContains(t, err, "no certificate")
	cfg = testConfig()
	cfg.TokenFile = t.TempDir() + "/none"
	c, err := New(cfg, ref, Observer{})
	require.NoError(t, err) // it may come
	_, err = c.Resolve(t.Context())
	require.ErrorContains(t, err, "credentials")
}
