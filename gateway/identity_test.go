package gateway_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

func TestWhoAsksStandsInTheRecord(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		asked := make(chan *kgo.Record, 1)
		w.worker(func(r *kgo.Record) outcome { asked <- r; return echo(r) })
		cfg := config()
		cfg.Auth.TokensFile = filepath.Join(t.TempDir(), "tokens")
		require.NoError(t, os.WriteFile(cfg.Auth.TokensFile, []byte("alice alice-has-a-long-token\n"), 0o600))
		g := w.ready(cfg)
		res := g.post("{}", nil)
		require.Equal(t, http.StatusUnauthorized, res.status)
		require.Equal(t, "Bearer", res.header.Get("WWW-Authenticate"))
		require.JSONEq(t, `{"error_code": "UNAUTHENTICATED", "message": "a bearer token is needed", "retryable": false}`, res.body)
		require.Equal(t, http.StatusUnauthorized, g.post("{}", map[string]string{"Authorization": "Bearer alice-has-a-long-tokeN"}).status)
		require.InDelta(t, 2, testutil.ToFloat64(g.m.Refused.WithLabelValues("identity")), 0)
		require.Empty(t, asked)

		require.Equal(t, http.StatusOK, g.post("{}", map[string]string{
			"Authorization": "Bearer alice-has-a-long-token", "Millrace-Client": "mallory",
		}).status)
		rec := <-asked
		client, _ := wire.Header(rec, wire.Client)
		require.Equal(t, "alice", string(client))
		for _, h := range rec.Headers {
			require.NotContains(t, string(h.Value), "long-token", "the token goes no further")
		}

		require.Zero(t, g.value("millrace_gateway_auth_errors_total"))
		require.NoError(t, os.Remove(cfg.Auth.TokensFile))
		time.Sleep(6 * time.Second)
		require.Positive(t, g.value("millrace_gateway_auth_errors_total"))
		require.Equal(t, http.StatusOK, g.post("{}", map[string]string{"Authorization": "Bearer alice-has-a-long-token"}).status)
	})
}

func TestTLSWithACertificateThatIsRenewed(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		asked := make(chan *kgo.Record, 1)
		w.worker(func(r *kgo.Record) outcome { asked <- r; return echo(r) })
		dir := t.TempDir()
		ca := newAuthority(t)
		cfg := config()
		cfg.TLS.CertFile, cfg.TLS.KeyFile, cfg.TLS.ClientCAFile = filepath.Join(dir, "crt"), filepath.Join(dir, "key"), filepath.Join(dir, "ca")
		ca.issue("first").write(t, cfg.TLS.CertFile, cfg.TLS.KeyFile)
		require.NoError(t, os.WriteFile(cfg.TLS.ClientCAFile, ca.pem, 0o600))
		g := w.start(cfg)
		g.url = "https://" + cfg.Addr
		served := ""
		caller := func(certs ...tls.Certificate) {
			roots := x509.NewCertPool()
			roots.AddCert(ca.cert)
			transport := &http.Transport{DialContext: w.net.DialContext, TLSClientConfig: &tls.Config{
				RootCAs: roots, ServerName: "127.0.0.1", Certificates: certs,
				VerifyConnection: func(s tls.ConnectionState) error { served = s.PeerCertificates[0].Subject.CommonName; return nil },
			}}
			w.http = &http.Client{Transport: transport}
			t.Cleanup(transport.CloseIdleConnections)
		}
		caller()
		time.Sleep(10 * time.Second)
		require.Equal(t, http.StatusOK, g.get("/readyz").status, "probes need no certificate")
		require.Equal(t, http.StatusUnauthorized, g.post("{}", nil).status)
		require.Equal(t, "first", served)

		caller(ca.issue("carol").pair(t))
		require.Equal(t, http.StatusOK, g.post("{}", nil).status)
		client, _ := wire.Header(<-asked, wire.Client)
		require.Equal(t, "carol", string(client))

		second := ca.issue("second")
		require.NoError(t, os.WriteFile(cfg.TLS.CertFile, second.cert, 0o600), "the key is yet to come")
		require.NoError(t, os.Chtimes(cfg.TLS.CertFile, time.Now(), time.Now()))
		time.Sleep(6 * time.Second)
		caller()
		g.get("/healthz")
		require.Equal(t, "first", served, "half a pair is not served")
		second.write(t, cfg.TLS.CertFile, cfg.TLS.KeyFile)
		require.NoError(t, os.Chtimes(cfg.TLS.KeyFile, time.Now(), time.Now()))
		time.Sleep(6 * time.Second)
		caller()
		g.get("/healthz")
		require.Equal(t, "second", served)
		require.InDelta(t, float64(ca.until.Unix()), g.value("millrace_gateway_certificate_expiry_timestamp_seconds"), 1)
	})
}

// value is that of a series without labels, as it is scraped.
func (r *running) value(series string) float64 {
	r.w.t.Helper()
	families, err := r.reg.Gather()
	require.NoError(r.w.t, err)
	for _, f := range families {
		if f.GetName() == series {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	require.FailNow(r.w.t, "no such series", series)
	return 0
}
