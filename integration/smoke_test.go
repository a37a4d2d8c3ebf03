//go:build integration

package integration

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/model/mlflow"
)

// TestKafka holds that the broker of these tests is what they take it for.
func TestKafka(t *testing.T) {
	b := newBroker(t)
	b.topics(t)
	through := func(t *testing.T, opts ...kgo.Opt) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cl := b.client(t, append(opts, kgo.ConsumeTopics(requests))...)
		value := []byte(t.Name())
		require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: requests, Value: value}).FirstErr())
		for found := false; !found; {
			fetches := cl.PollFetches(ctx)
			require.NoError(t, fetches.Err())
			fetches.EachRecord(func(r *kgo.Record) { found = found || bytes.Equal(r.Value, value) })
		}
	}
	t.Run("plain", func(t *testing.T) { through(t) })
	t.Run("SCRAM over TLS", func(t *testing.T) { through(t, b.secured(t, scramPassword)...) })
	t.Run("SCRAM with a wrong password", func(t *testing.T) {
		cl := b.client(t, append(b.secured(t, "wrong"), kgo.RequestRetries(0))...)
		require.Error(t, cl.Ping(t.Context()))
	})
	t.Run("SCRAM without its authority", func(t *testing.T) {
		cl := b.client(t, kgo.SeedBrokers(b.secure), kgo.RequestRetries(0), kgo.DialTLS())
		require.Error(t, cl.Ping(t.Context()))
	})
}

// TestRegister puts a model into the real registry by REST and reads it back.
func TestRegister(t *testing.T) {
	reg := sharedRegistry(t)
	cl, err := mlflow.New(mlflow.Config{TrackingURI: reg.url})
	require.NoError(t, err)
	v, err := cl.Register(t.Context(), mlflow.Registration{Folder: affine(t, 1), Name: "smoke", Alias: "champion"})
	require.NoError(t, err)
	require.Equal(t, "1", v.Version)
	require.Equal(t, "1", reg.version(t, "smoke", "champion"))
	v, err = cl.Register(t.Context(), mlflow.Registration{Folder: affine(t, 2), Name: "smoke"})
	require.NoError(t, err)
	require.Equal(t, "2", v.Version)
	require.Equal(t, "1", reg.version(t, "smoke", "champion"))
	reg.point(t, "smoke", "champion", "2")
	require.Equal(t, "2", reg.version(t, "smoke", "champion"))
}
