package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// mechanism is nil when none is configured. Credentials are looked up at each
// authentication, so that a rotated file needs no restart.
func (c Config) mechanism() sasl.Mechanism {
	scramAuth := func(context.Context) (scram.Auth, error) {
		pass, err := c.password()
		return scram.Auth{User: c.SASLUsername, Pass: pass}, err
	}
	switch strings.ToUpper(c.SASLMechanism) {
	case Plain:
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			pass, err := c.password()
			return plain.Auth{User: c.SASLUsername, Pass: pass}, err
		})
	case ScramSHA256:
		return scram.Sha256(scramAuth)
	case ScramSHA512:
		return scram.Sha512(scramAuth)
	case OAuthBearer:
		source := c.tokenSource()
		return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			token, err := source(ctx)
			return oauth.Auth{Token: token}, err
		})
	}
	return nil
}

func (c Config) password() (string, error) {
	if c.SASLPassFile == "" {
		return c.SASLPassword, nil
	}
	return readSecret("KAFKA_SASL_PASSWORD_FILE", c.SASLPassFile)
}

func readSecret(name, path string) (string, error) {
	b, err := os.ReadFile(path) //nolint:gosec // The operator names the file.
	if err != nil {
		return "", fmt.Errorf(prefix+"%s: %w", name, err)
	}
	// Editors and "echo" end a file with a newline, which no secret means.
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" {
		return "", fmt.Errorf(prefix+"%s: %s: %w", name, path, errEmptySecret)
	}
	return s, nil
}

func (c Config) tokenSource() func(context.Context) (string, error) {
	if c.OAuthTokenFile != "" {
		return func(context.Context) (string, error) {
			return readSecret("KAFKA_OAUTH_TOKEN_FILE", c.OAuthTokenFile)
		}
	}
	e := &endpoint{conf: c, client: &http.Client{Timeout: c.RequestTimeout}}
	return e.token
}

// endpoint gets tokens by the client-credentials grant (RFC 6749, 4.4), and
// keeps one until shortly before it expires: each broker's connection
// authenticates on its own.
type endpoint struct {
	conf   Config
	client *http.Client

	mu     sync.Mutex // guards what follows
	cached string
	until  time.Time
}

func (e *endpoint) token(ctx context.Context) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cached != "" && time.Now().Before(e.until) {
		return e.cached, nil
	}
	token, life, err := e.fetch(ctx)
	if err != nil {
		return "", fmt.Errorf("token from %s: %w", e.conf.OAuthTokenURL, err)
	}
	// A token without a lifetime is not kept. Else it is renewed at four
	// fifths of its life, so that none expires on its way to a broker.
	e.cached, e.until = token, time.Now().Add(life*4/5)
	return token, nil
}

func (e *endpoint) fetch(ctx context.Context) (string, time.Duration, error) {
	secret := e.conf.OAuthSecret
	if e.conf.OAuthSecretFile != "" {
		var err error
		if secret, err = readSecret("KAFKA_OAUTH_CLIENT_SECRET_FILE", e.conf.OAuthSecretFile); err != nil {
			return "", 0, err
		}
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if e.conf.OAuthScope != "" {
		form.Set("scope", e.conf.OAuthScope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.conf.OAuthTokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// RFC 6749, 2.3.1: both are form-encoded before Basic is applied.
	req.SetBasicAuth(url.QueryEscape(e.conf.OAuthClientID), url.QueryEscape(secret))
	resp, err := e.client.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	return readToken(resp)
}

func readToken(resp *http.Response) (string, time.Duration, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", 0, err
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		Error       string  `json:"error"`
		Description string  `json:"error_description"`
	}
	jsonErr := json.Unmarshal(body, &answer)
	switch {
	case resp.StatusCode != http.StatusOK && answer.Error != "":
		return "", 0, fmt.Errorf("status %d: %s: %s", resp.StatusCode, answer.Error, answer.Description)
	case resp.StatusCode != http.StatusOK:
		return "", 0, fmt.Errorf("status %d", resp.StatusCode)
	case jsonErr != nil:
		return "", 0, fmt.Errorf("body: %w", jsonErr)
	case answer.AccessToken == "":
		return "", 0, errors.New("no access_token in the answer")
	}
	return answer.AccessToken, time.Duration(answer.ExpiresIn * float64(time.Second)), nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return err
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return fmt.Errorf("%q is not an http(s) URL", s)
	}
	return nil
}
