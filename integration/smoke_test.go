//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/model/mlflow"
)

// TestKafka holds that the broker of these tests is what they take it for, and
// that every way in works by the configuration that a worker has for it.
func TestKafka(t *testing.T) {
	b := newBroker(t)
	b.topics(t)
	base := kafka.Config{
		Brokers: []string{b.secure}, ClientID: "smoke", TLS: true, TLSCA: b.ca,
		DialTimeout: 5 * time.Second, RequestTimeout: 5 * time.Second, MetadataMinAge: 100 * time.Millisecond,
		RetryBackoff: 50 * time.Millisecond, RetryMax: time.Second,
	}
	with := func(change func(*kafka.Config)) kafka.Config {
		c := base
		change(&c)
		return c
	}
	password := func(mechanism string) kafka.Config {
		return with(func(c *kafka.Config) {
			c.SASLMechanism, c.SASLUsername, c.SASLPassword = mechanism, saslUser, saslPassword
		})
	}
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, unsignedToken(t), 0o600))
	for name, conf := range map[string]kafka.Config{
		"plain text":  with(func(c *kafka.Config) { c.Brokers, c.TLS, c.TLSCA = []string{b.plain}, false, "" }),
		"TLS":         with(func(c *kafka.Config) { c.Brokers = []string{b.encrypted} }),
		"mutual TLS":  with(func(c *kafka.Config) { c.Brokers, c.TLSCert, c.TLSKey = []string{b.mutual}, b.cert, b.private }),
		"PLAIN":       password(kafka.Plain),
		"SCRAM-256":   password(kafka.ScramSHA256),
		"SCRAM-512":   password(kafka.ScramSHA512),
		"OAUTHBEARER": with(func(c *kafka.Config) { c.SASLMechanism, c.OAuthTokenFile = kafka.OAuthBearer, token }),
	} {
		t.Run(name, func(t *testing.T) { requireThrough(t, conf) })
	}
	wrong := password(kafka.ScramSHA512)
	wrong.SASLPassword = "wrong"
	for name, conf := range map[string]kafka.Config{
		"a wrong password":      wrong,
		"no authority":          with(func(c *kafka.Config) { c.Brokers, c.TLSCA = []string{b.encrypted}, "" }),
		"no client certificate": with(func(c *kafka.Config) { c.Brokers = []string{b.mutual} }),
		"no credentials":        base,
	} {
		t.Run(name, func(t *testing.T) {
			cl := connect(t, conf, kgo.RequestRetries(0))
			require.Error(t, cl.Ping(t.Context()))
		})
	}
}

func connect(t *testing.T, conf kafka.Config, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	require.NoError(t, conf.Validate())
	opts, err := conf.Opts(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	cl, err := kgo.NewClient(append(opts, more...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// requireThrough writes a record and reads it back.
func requireThrough(t *testing.T, conf kafka.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cl := connect(t, conf, kgo.ConsumeTopics(requests))
	value := []byte(t.Name())
	require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: requests, Value: value}).FirstErr())
	for found := false; !found; {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { found = found || bytes.Equal(r.Value, value) })
	}
}

// unsignedToken is a JSON web token without a signature (RFC 7519, 6), which
// the broker of these tests takes.
func unsignedToken(t *testing.T) []byte {
	t.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now()
	claims := map[string]any{"sub": saslUser, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	return []byte(part(map[string]string{"alg": "none"}) + "." + part(claims) + ".")
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
