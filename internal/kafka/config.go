// Package kafka is what every part that talks to Kafka shares: the client's
// options from configuration (addresses, TLS, SASL, time limits), and the
// topics with their set-up. It does not wrap the client.
package kafka

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// The mechanisms that KAFKA_SASL_MECHANISM may name.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
	OAuthBearer = "OAUTHBEARER"
)

// Config is how brokers are reached.
type Config struct {
	Brokers         []string      `env:"KAFKA_BROKERS" envDefault:"127.0.0.1:9092" help:"Seed brokers, host:port, comma separated."`
	ClientID        string        `env:"KAFKA_CLIENT_ID" envDefault:"millrace" help:"Name of this client in the broker's logs and quotas."`
	DialTimeout     time.Duration `env:"KAFKA_DIAL_TIMEOUT" envDefault:"10s" help:"Longest wait for a connection, its TLS handshake included."`
	RequestTimeout  time.Duration `env:"KAFKA_REQUEST_TIMEOUT" envDefault:"10s" help:"Longest wait for a response, beyond what the request itself asks the broker to wait."`
	MetadataMinAge  time.Duration `env:"KAFKA_METADATA_MIN_AGE" envDefault:"250ms" help:"Shortest time between two looks at the metadata: it bounds how soon a moved leader is found."`
	RetryBackoff    time.Duration `env:"KAFKA_RETRY_BACKOFF" envDefault:"50ms" help:"First pause before a request is tried again; doubles up to KAFKA_RETRY_BACKOFF_MAX."`
	RetryMax        time.Duration `env:"KAFKA_RETRY_BACKOFF_MAX" envDefault:"1s" help:"Longest pause before a request is tried again."`
	TLS             bool          `env:"KAFKA_TLS" help:"Encrypt; the system's certificate authorities are trusted unless KAFKA_TLS_CA is set."`
	TLSCA           string        `env:"KAFKA_TLS_CA" help:"PEM file of the certificate authorities to trust."`
	TLSCert         string        `env:"KAFKA_TLS_CERT" help:"PEM file of the client's certificate, for mutual TLS; read at each handshake."`
	TLSKey          string        `env:"KAFKA_TLS_KEY" help:"PEM file of the client's key; read at each handshake."`
	TLSServerName   string        `env:"KAFKA_TLS_SERVER_NAME" help:"Name that the broker's certificate must bear, instead of the dialled host."`
	TLSInsecure     bool          `env:"KAFKA_TLS_INSECURE_SKIP_VERIFY" help:"Accept any certificate: for experiments only."`
	SASLMechanism   string        `env:"KAFKA_SASL_MECHANISM" help:"PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; empty: none."`
	SASLUsername    string        `env:"KAFKA_SASL_USERNAME" help:"User for PLAIN and SCRAM."`
	SASLPassword    string        `env:"KAFKA_SASL_PASSWORD" secret:"true" help:"Password for PLAIN and SCRAM."`
	SASLPassFile    string        `env:"KAFKA_SASL_PASSWORD_FILE" help:"File with the password; read at each authentication, so that it may be rotated."`
	OAuthTokenFile  string        `env:"KAFKA_OAUTH_TOKEN_FILE" help:"File with a bearer token; read at each authentication."`
	OAuthTokenURL   string        `env:"KAFKA_OAUTH_TOKEN_URL" help:"Token endpoint for the client-credentials grant."`
	OAuthClientID   string        `env:"KAFKA_OAUTH_CLIENT_ID" help:"Client id for the token endpoint."`
	OAuthSecret     string        `env:"KAFKA_OAUTH_CLIENT_SECRET" secret:"true" help:"Client secret for the token endpoint."`
	OAuthSecretFile string        `env:"KAFKA_OAUTH_CLIENT_SECRET_FILE" help:"File with the client secret; read at each request of a token."`
	OAuthScope      string        `env:"KAFKA_OAUTH_SCOPE" help:"Scope to ask the token endpoint for; may be empty."`
}

const prefix = "MILLRACE_"

// Validate reports every mistake, each with the variable that holds it.
func (c Config) Validate() error {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf(prefix+name+": "+format, args...))
	}
	if len(c.Brokers) == 0 {
		bad("KAFKA_BROKERS", "at least one host:port is needed")
	}
	for _, b := range c.Brokers {
		if _, port, err := net.SplitHostPort(b); err != nil || port == "" {
			bad("KAFKA_BROKERS", "%q is not host:port", b)
		}
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"KAFKA_DIAL_TIMEOUT", c.DialTimeout},
		{"KAFKA_REQUEST_TIMEOUT", c.RequestTimeout},
		{"KAFKA_RETRY_BACKOFF", c.RetryBackoff},
		{"KAFKA_METADATA_MIN_AGE", c.MetadataMinAge},
	} {
		if d.v <= 0 {
			bad(d.name, "%s is not above zero", d.v)
		}
	}
	if c.RetryMax < c.RetryBackoff {
		bad("KAFKA_RETRY_BACKOFF_MAX", "%s is below KAFKA_RETRY_BACKOFF (%s)", c.RetryMax, c.RetryBackoff)
	}
	c.validateTLS(bad)
	c.validateSASL(bad)
	return errors.Join(errs...)
}

func (c Config) validateTLS(bad func(string, string, ...any)) {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		bad("KAFKA_TLS_CERT", "a certificate and KAFKA_TLS_KEY go together")
	}
	if c.TLS {
		return
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"KAFKA_TLS_CA", c.TLSCA != ""},
		{"KAFKA_TLS_CERT", c.TLSCert != ""},
		{"KAFKA_TLS_SERVER_NAME", c.TLSServerName != ""},
		{"KAFKA_TLS_INSECURE_SKIP_VERIFY", c.TLSInsecure},
	} {
		if f.set {
			bad(f.name, "set without KAFKA_TLS=true, and nothing would be encrypted")
		}
	}
}

func (c Config) validateSASL(bad func(string, string, ...any)) {
	switch strings.ToUpper(c.SASLMechanism) {
	case "":
		if c.SASLUsername != "" || c.SASLPassword != "" || c.SASLPassFile != "" {
			bad("KAFKA_SASL_MECHANISM", "a user or password is set, but no mechanism")
		}
	case Plain, ScramSHA256, ScramSHA512:
		if c.SASLUsername == "" {
			bad("KAFKA_SASL_USERNAME", "needed for %s", c.SASLMechanism)
		}
		if (c.SASLPassword == "") == (c.SASLPassFile == "") {
			bad("KAFKA_SASL_PASSWORD", "either it or KAFKA_SASL_PASSWORD_FILE is needed for %s, not both", c.SASLMechanism)
		}
	case OAuthBearer:
		c.validateOAuth(bad)
	default:
		bad("KAFKA_SASL_MECHANISM", "%q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER", c.SASLMechanism)
	}
}

func (c Config) validateOAuth(bad func(string, string, ...any)) {
	if (c.OAuthTokenFile == "") == (c.OAuthTokenURL == "") {
		bad("KAFKA_OAUTH_TOKEN_FILE", "either it or KAFKA_OAUTH_TOKEN_URL is needed for OAUTHBEARER, not both")
	}
	if c.OAuthTokenURL == "" {
		return
	}
	if err := checkURL(c.OAuthTokenURL); err != nil {
		bad("KAFKA_OAUTH_TOKEN_URL", "%v", err)
	}
	if c.OAuthClientID == "" {
		bad("KAFKA_OAUTH_CLIENT_ID", "needed for KAFKA_OAUTH_TOKEN_URL")
	}
	if (c.OAuthSecret == "") == (c.OAuthSecretFile == "") {
		bad("KAFKA_OAUTH_CLIENT_SECRET", "either it or KAFKA_OAUTH_CLIENT_SECRET_FILE is needed, not both")
	}
}
