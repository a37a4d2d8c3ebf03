package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// keys verifies JWTs by a key set that is fetched over HTTP.
type keys struct {
	url    string
	parser *jwt.Parser
	client *http.Client
	log    *slog.Logger
	failed func()

	set atomic.Pointer[keyfunc.Keyfunc] // nil until the first fetch

	mu      sync.Mutex
	asked   time.Time // under mu: of the last fetch
	failing bool      // under mu
}

// How often keys are fetched: now and then, soon again when that failed, and for a
// token whose key is unknown, which a caller can make up at will, no more than so
// often.
const (
	keysEvery    = 5 * time.Minute
	keysRetry    = 15 * time.Second
	keysUnknown  = 10 * time.Second
	keysTimeout  = 5 * time.Second
	largestSet   = 1 << 20
	clockLeeway  = 30 * time.Second
	longestToken = 16 << 10
)

func newKeys(cfg Config, log *slog.Logger, failed func()) *keys {
	opts := []jwt.ParserOption{
		// No HMAC: its key is no public one. No "none".
		jwt.WithValidMethods([]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}),
		jwt.WithExpirationRequired(), jwt.WithLeeway(clockLeeway), jwt.WithAudience(cfg.Audience),
	}
	if cfg.Issuer != "" {
		opts = append(opts, jwt.WithIssuer(cfg.Issuer))
	}
	return &keys{
		url: cfg.JWKSURL, parser: jwt.NewParser(opts...), log: log, failed: failed,
		client: &http.Client{Timeout: keysTimeout},
	}
}

// verify returns the subject of a token. Why a token is refused is for the log
// alone.
func (k *keys) verify(ctx context.Context, token string) (string, error) {
	if len(token) > longestToken {
		return "", ErrInvalid
	}
	subject, err := k.check(token)
	if errors.Is(err, ErrNotReady) || errors.Is(err, jwt.ErrTokenUnverifiable) { // keys are changed now and then
		k.refresh(ctx, keysUnknown)
		subject, err = k.check(token)
	}
	switch {
	case errors.Is(err, ErrNotReady):
		return "", err
	case err != nil:
		k.log.DebugContext(ctx, "a token is refused", "err", err)
		return "", ErrInvalid
	case subject == "":
		k.log.DebugContext(ctx, "a token is refused", "err", "it has no subject")
		return "", ErrInvalid
	}
	return subject, nil
}

func (k *keys) check(token string) (subject string, err error) {
	set := k.set.Load()
	if set == nil {
		return "", ErrNotReady
	}
	var claims jwt.RegisteredClaims
	_, err = k.parser.ParseWithClaims(token, &claims, (*set).Keyfunc)
	return claims.Subject, err
}

// pace is how old the keys may be.
func (k *keys) pace() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing {
		return keysRetry
	}
	return keysEvery
}

// refresh fetches the keys unless that was done a short while ago. Who comes
// meanwhile waits for the one fetch.
func (k *keys) refresh(ctx context.Context, age time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.asked.IsZero() && time.Since(k.asked) < age {
		return
	}
	k.asked = time.Now()
	set, err := k.fetch(context.WithoutCancel(ctx)) // bounded, and others wait for it as well
	if err != nil {
		k.failed()
		if !k.failing {
			k.log.WarnContext(ctx, "the keys that verify tokens cannot be fetched; the last good ones hold", "err", err)
		}
		k.failing = true
		return
	}
	k.failing = false
	k.set.Store(&set)
}

func (k *keys) fetch(ctx context.Context) (keyfunc.Keyfunc, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	res, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", k.url, res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, largestSet))
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", k.url, err)
	}
	set, err := keyfunc.NewJWKSetJSON(text)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", k.url, err)
	}
	return set, nil
}
