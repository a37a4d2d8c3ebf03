package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func base(c *kfake.Cluster) Config {
	return Config{
		Brokers: c.ListenAddrs(), ClientID: "test", DialTimeout: 5 * time.Second, RequestTimeout: 5 * time.Second,
		MetadataMinAge: 100 * time.Millisecond, RetryBackoff: 10 * time.Millisecond, RetryMax: 100 * time.Millisecond,
	}
}

func connect(t *testing.T, c Config) *kgo.Client {
	t.Helper()
	require.NoError(t, c.Validate())
	opts, err := c.Opts(slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	cl, err := kgo.NewClient(opts...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

func ping(t *testing.T, c Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return connect(t, c).Ping(ctx)
}

// listener ends the wait that it is the log of when text is said.
type listener struct {
	text string
	end  context.CancelFunc
}

func (l listener) Write(line []byte) (int, error) {
	if strings.Contains(string(line), l.text) {
		l.end()
	}
	return len(line), nil
}

// waitsUntil holds that the wait for topics goes on, and that text is said in it.
func waitsUntil(t *testing.T, cl *kgo.Client, text string, topics ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := slog.New(slog.NewTextHandler(listener{text, cancel}, nil))
	require.ErrorIs(t, WaitTopics(ctx, cl, log, topics...), context.Canceled, "%q was not said", text)
}

// certificate writes a self-signed pair and returns it with its paths.
func certificate(t *testing.T) (pair tls.Certificate, cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(k)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	pair, err = tls.LoadX509KeyPair(cert, key)
	require.NoError(t, err)
	return pair, cert, key
}

func TestMutualTLS(t *testing.T) {
	pair, cert, key := certificate(t)
	pool := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	require.NoError(t, err)
	pool.AddCert(leaf)
	for _, auth := range []tls.ClientAuthType{tls.NoClientCert, tls.RequireAndVerifyClientCert} {
		c := kfake.MustCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: auth, ClientCAs: pool}))
		conf := base(c)
		conf.TLS = true
		require.Error(t, ping(t, conf), "nobody has signed it")
		conf.TLSCA = cert
		if auth != tls.NoClientCert {
			require.Error(t, ping(t, conf), "a client's certificate is asked for")
			conf.TLSCert, conf.TLSKey = cert, key
		}
		require.NoError(t, ping(t, conf))
		c.Close()
	}
}

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{Plain, ScramSHA256, ScramSHA512} {
		c := kfake.MustCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(mechanism, "u", "right"))
		conf := base(c)
		conf.SASLMechanism, conf.SASLUsername, conf.SASLPassword = mechanism, "u", "right"
		require.NoError(t, ping(t, conf))
		conf.SASLPassword, conf.SASLPassFile = "", filepath.Join(t.TempDir(), "p")
		require.NoError(t, os.WriteFile(conf.SASLPassFile, []byte("right\n"), 0o600))
		require.NoError(t, ping(t, conf))
		require.NoError(t, os.WriteFile(conf.SASLPassFile, []byte("wrong"), 0o600))
		waitsUntil(t, connect(t, conf), "wrong credentials", "a")
		c.Close()
	}
}

func TestOAuthTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	conf := Config{SASLMechanism: OAuthBearer, OAuthTokenFile: file}
	for _, token := range []string{"one", "two"} {
		require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
		_, first, err := conf.mechanism().Authenticate(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "n,,\x01auth=Bearer "+token+"\x01\x01", string(first))
	}
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		user, pass, _ := r.BasicAuth()
		if user != "id" || pass != "secret" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
			return
		}
		_, _ = w.Write([]byte(`{"access_token":"tok","expires_in":3600}`))
	}))
	defer srv.Close()
	conf = Config{SASLMechanism: OAuthBearer, OAuthTokenURL: srv.URL, OAuthClientID: "id", OAuthSecret: "secret", OAuthScope: "kafka"}
	source := conf.tokenSource()
	for range 2 {
		token, err := source(t.Context())
		require.NoError(t, err)
		require.Equal(t, "tok", token)
	}
	require.Equal(t, 1, asked, "kept while it lives")
	conf.OAuthSecret = "wrong"
	_, err := conf.tokenSource()(t.Context())
	require.ErrorContains(t, err, "invalid_client")
	http.DefaultClient.CloseIdleConnections()
}

func TestTopics(t *testing.T) {
	c := kfake.MustCluster(kfake.NumBrokers(1))
	defer c.Close()
	cl := connect(t, base(c))
	topics := Topics{Requests: "a", Results: "b", Replies: "c", DeadLetters: "d", Cancelled: "e", Partitions: 3, Replication: 1}
	require.NoError(t, topics.Validate())
	waitsUntil(t, cl, "topics are missing: a", "a")
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	for range 2 {
		require.NoError(t, EnsureTopics(t.Context(), cl, topics, log))
	}
	require.Len(t, c.PartitionInfos("d"), 3)
	require.Len(t, c.PartitionInfos("e"), 1)
	require.NoError(t, WaitTopics(t.Context(), cl, log, topics.Names()...))
}

func TestATopicThatCanBeDoneWithout(t *testing.T) {
	for name, want := range map[string]string{"": "", NoTopic: "", "x": "x"} {
		topics := Topics{Requests: "a", Results: "b", Replies: "c", DeadLetters: "d", Cancelled: name, Partitions: 1, Replication: -1}
		require.NoError(t, topics.Validate())
		require.Equal(t, want, topics.Cancellations())
		require.Equal(t, want != "", len(topics.Names()) == 5)
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	err := Config{Brokers: []string{"nowhere"}, SASLMechanism: "GSSAPI", TLSCert: "x"}.Validate()
	for _, name := range []string{"KAFKA_BROKERS", "KAFKA_SASL_MECHANISM", "KAFKA_TLS_CERT", "KAFKA_DIAL_TIMEOUT"} {
		require.ErrorContains(t, err, "MILLRACE_"+name+":")
	}
	err = Topics{Requests: "a.b", Results: "a_b", Replies: "..", DeadLetters: "d", Cancelled: "d"}.Validate()
	for _, name := range []string{"TOPIC_CANCELLATIONS", "TOPIC_RESULTS", "TOPIC_REPLIES", "TOPIC_PARTITIONS", "TOPIC_REPLICATION"} {
		require.ErrorContains(t, err, "MILLRACE_"+name+":")
	}
}
