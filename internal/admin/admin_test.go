package admin_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, client *http.Client, url, accept string) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	req.Header.Set("Accept", accept)
	res, err := client.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, res.Header, string(text)
}

func TestProbesAndSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vn := &kfake.VirtualNetwork{}
		l, err := vn.Listen("tcp", "127.0.0.1:8001")
		require.NoError(t, err)
		reg := prometheus.NewRegistry()
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "some_total", Help: "Some."})
		require.NoError(t, reg.Register(c))
		var notReady error
		mux := admin.Mux(admin.Health{
			Live:  func() error { return nil },
			Ready: func() error { return notReady },
		}, reg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- (&admin.Server{Listener: l, Handler: mux}).Run(ctx) }()
		transport := &http.Transport{DialContext: vn.DialContext}
		client := &http.Client{Transport: transport}

		for _, path := range []string{"/healthz", "/readyz"} {
			status, _, body := get(t, client, "http://127.0.0.1:8001"+path, "")
			require.Equal(t, http.StatusOK, status)
			require.JSONEq(t, `{"status":"ok"}`, body)
		}
		notReady = errors.New("the model is loading")
		status, _, body := get(t, client, "http://127.0.0.1:8001/readyz", "")
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.JSONEq(t, `{"status":"unavailable","reason":"the model is loading"}`, body)
		for _, path := range []string{"/metrics", "/prometheus"} {
			_, _, body = get(t, client, "http://127.0.0.1:8001"+path, "")
			require.Contains(t, body, "some_total 0")
			_, header, _ := get(t, client, "http://127.0.0.1:8001"+path,
				"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
			require.Contains(t, header.Get("Content-Type"), "protobuf", "native histograms need it")
			_, header, _ = get(t, client, "http://127.0.0.1:8001"+path, "application/openmetrics-text;version=1.0.0")
			require.Contains(t, header.Get("Content-Type"), "openmetrics")
		}
		transport.CloseIdleConnections()
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestTheEndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vn := &kfake.VirtualNetwork{}
		l, err := vn.Listen("tcp", "127.0.0.1:8001")
		require.NoError(t, err)
		srv := &admin.Server{Listener: l, Drain: 3 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- srv.Run(ctx) }()
		conn, err := vn.DialContext(t.Context(), "tcp", "127.0.0.1:8001")
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		synctest.Wait()
		start := time.Now()
		cancel()
		require.ErrorIs(t, <-ended, context.DeadlineExceeded)
		require.InDelta(t, 3, time.Since(start).Seconds(), 0.01)
		require.NoError(t, conn.Close())
	})
}

func TestAnAddressThatIsTakenIsAnError(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	require.ErrorContains(t, (&admin.Server{Addr: l.Addr().String()}).Run(t.Context()), "listen")
}
