package gateway_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
)

// The broker goes away with its network and comes back with its disk.
func TestABrokersRestartIsSurvived(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: &kfake.VirtualNetwork{}}
		up := func() {
			w.cluster = kfake.MustCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.DataDir(dir),
				kfake.ListenFn(w.net.Listen), kfake.SeedTopics(4, requests, replies))
		}
		up()
		t.Cleanup(func() { w.cluster.Close() })
		transport := &http.Transport{DialContext: w.net.DialContext}
		w.http = &http.Client{Transport: transport}
		t.Cleanup(transport.CloseIdleConnections)
		w.worker(echo)
		g := w.ready(config())
		require.Equal(t, http.StatusOK, g.post("{}", nil).status)

		w.cluster.Close()
		start := time.Now()
		res := g.post("{}", nil)
		require.Equal(t, http.StatusServiceUnavailable, res.status, res.body)
		require.LessOrEqual(t, time.Since(start), 6*time.Second)
		time.Sleep(10 * time.Second)
		require.Equal(t, http.StatusServiceUnavailable, g.get("/readyz").status)
		require.Equal(t, http.StatusOK, g.get("/healthz").status, "a broker that is away is no reason to be restarted")

		up()
		time.Sleep(15 * time.Second)
		res = g.get("/readyz")
		require.Equal(t, http.StatusOK, res.status, res.body)
		require.Equal(t, http.StatusOK, g.post("{}", nil).status)
	})
}
