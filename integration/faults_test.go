//go:build integration

package integration

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSCRAMOverTLS runs a worker that reaches the broker with both.
func TestSCRAMOverTLS(t *testing.T) {
	const total = 2_000
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	b := newBroker(t)
	b.topics(t)
	startWorker(t, "worker", b, "MLFLOW_TRACKING_URI="+reg.url, "MILLRACE_MODEL=models:/"+name+"@champion",
		"MILLRACE_KAFKA_BROKERS="+b.secure, "MILLRACE_KAFKA_TLS=true", "MILLRACE_KAFKA_TLS_CA="+b.ca,
		"MILLRACE_KAFKA_SASL_MECHANISM=SCRAM-SHA-512", "MILLRACE_KAFKA_SASL_USERNAME="+saslUser, "MILLRACE_KAFKA_SASL_PASSWORD="+saslPassword)
	f := startTraffic(t, b, total, 2_000)
	f.reach(t, total, time.Minute)
	b.requireNoLag(t, group)
	require.Zero(t, f.check(t).duplicates)
}

// TestGateway sends requests over HTTP, one after the other and together.
func TestGateway(t *testing.T) {
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	b := newBroker(t)
	b.topics(t)
	startWorker(t, "worker", b, "MLFLOW_TRACKING_URI="+reg.url, "MILLRACE_MODEL=models:/"+name+"@champion")
	url := startGateway(t, b) + "/predict"
	ask := func(i int) error {
		out, err := post(t.Context(), url, body(i))
		if err != nil {
			return err
		}
		got, err := parseAnswer(out)
		if err != nil {
			return err
		}
		want, err := answerOf(i, "1")
		if err == nil && got != want {
			err = fmt.Errorf("request %d: %v is not %v", i, got, want)
		}
		return err
	}
	require.NoError(t, ask(1))
	var wg sync.WaitGroup
	errs := make(chan error, 500)
	for worker := range 50 {
		wg.Go(func() {
			for i := range 10 {
				errs <- ask(100*worker + i)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	_, err := post(t.Context(), url, []byte(`{"inputs": [[1, 2]]}`))
	require.ErrorContains(t, err, "400")
	require.ErrorContains(t, err, "INVALID_INPUT")
}

// TestBrokerRestart kills the broker in the middle, with requests on their way
// in and answers on their way out.
func TestBrokerRestart(t *testing.T) {
	const total = 20_000
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	b := newBroker(t)
	b.topics(t)
	startWorker(t, "worker", b, "MLFLOW_TRACKING_URI="+reg.url, "MILLRACE_MODEL=models:/"+name+"@champion")
	f := startTraffic(t, b, total, 4_000)
	f.reach(t, total/2, time.Minute)
	b.proc.kill()
	t.Log("the broker is killed")
	b.start(t)
	f.reach(t, total, 2*time.Minute)
	b.requireNoLag(t, group)
	t.Logf("%d answered twice", f.check(t).duplicates)
}

// TestRegistryAway kills the registry: the worker goes on with the version it
// has.
func TestRegistryAway(t *testing.T) {
	const total = 10_000
	reg := newRegistry(t)
	name := reg.affineModel(t)
	b := newBroker(t)
	b.topics(t)
	w := startWorker(t, "worker", b, "MLFLOW_TRACKING_URI="+reg.url, "MILLRACE_MODEL=models:/"+name+"@champion")
	f := startTraffic(t, b, total, 2_000)
	f.reach(t, total/4, time.Minute)
	reg.proc.kill()
	f.reach(t, total, time.Minute)
	require.NoError(t, w.ready(t.Context()))
	b.requireNoLag(t, group)
	got := f.check(t)
	require.Equal(t, map[string]int{"1": total}, got.versions)
	require.Zero(t, got.duplicates)
}
