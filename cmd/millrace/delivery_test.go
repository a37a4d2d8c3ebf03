package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestTransactionalIDs(t *testing.T) {
	named := func(env map[string]string, given string) (string, bool) {
		cfg := workerConfig{}
		cfg.Consumer.Group, cfg.Transaction.ID = "pool", given
		(&program{env: env}).nameTransactions(&cfg)
		return cfg.Transaction.ID, cfg.Transaction.Own
	}
	id, own := named(map[string]string{"HOSTNAME": "millrace-worker-3"}, "")
	require.Equal(t, "pool-millrace-worker-3", id, "a StatefulSet's pod")
	require.False(t, own)
	id, own = named(map[string]string{"HOSTNAME": "millrace-worker-3"}, "mine")
	require.Equal(t, "mine", id)
	require.False(t, own)
	id, own = named(map[string]string{"HOSTNAME": "millrace-worker-7c9f8d6b5-x2x9k"}, "")
	require.True(t, strings.HasPrefix(id, "pool-millrace-worker-7c9f8d6b5-x2x9k-"), id)
	require.True(t, own)
	again, _ := named(map[string]string{"HOSTNAME": "millrace-worker-7c9f8d6b5-x2x9k"}, "")
	require.NotEqual(t, id, again, "of each process")
	_, own = named(nil, "")
	require.True(t, own)
}

// TestUpExactlyOnce answers over HTTP within transactions.
func TestUpExactlyOnce(t *testing.T) {
	p := start(t, home(t, "MILLRACE_UP_KAFKA_PORT=0", "MILLRACE_DELIVERY=exactly-once"), "up")
	p.find(t, "Millrace is ready")
	body := p.find(t, `/predict -H 'content-type: application/json' -d '([^']+)'`)
	got := send(t.Context(), http.MethodPost, p.gateway(t)+"/predict", body, "content-type", "application/json")
	require.Equal(t, http.StatusOK, got.code, got.body)
	got = send(t.Context(), http.MethodPost, p.gateway(t)+"/predict", `{"inputs": "no"}`, "content-type", "application/json")
	require.Equal(t, http.StatusBadRequest, got.code, got.body)
	cl, err := kgo.NewClient(kgo.SeedBrokers(p.find(t, `broker is served" addr=(\S+)`)), kgo.ConsumeTopics("dlq.inference.requests"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.NoError(t, err)
	defer cl.Close()
	require.JSONEq(t, `{"inputs": "no"}`, string(cl.PollFetches(t.Context()).Records()[0].Value))
	text := get(t, p.probes(t)+"/metrics").body
	require.Contains(t, text, `millrace_transactions_total{result="committed"}`)
	require.Contains(t, text, `inference_errors_total{code="INVALID_INPUT"`)
	require.Zero(t, p.stop(t))
}
