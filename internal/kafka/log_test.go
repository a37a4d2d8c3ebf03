package kafka_test

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
)

// A broker that is away is told of once, however often the client tries.
func TestClientDoesNotRepeatItself(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close()) // nothing listens there now
	var log bytes.Buffer
	cfg := kafka.Config{Brokers: []string{l.Addr().String()}, ClientID: "test", DialTimeout: 1e9, RequestTimeout: 1e9, MetadataMinAge: 1e7, RetryBackoff: 1e6, RetryMax: 2e6}
	opts, err := cfg.Opts(slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	cl, err := kgo.NewClient(append(opts, kgo.RequestRetries(5))...)
	require.NoError(t, err)
	require.Error(t, cl.Ping(t.Context()))
	require.Error(t, cl.Ping(t.Context()))
	cl.Close()
	require.Equal(t, 1, strings.Count(log.String(), "unable to open connection"), log.String())
}
