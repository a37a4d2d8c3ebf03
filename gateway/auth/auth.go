// Package auth finds out who calls: by a bearer token that a file names, or by a
// JSON Web Token (RFC 7519) that a published set of keys (RFC 7517) verifies.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// Config says how callers prove who they are. With neither a file nor keys nobody
// has to.
type Config struct {
	TokensFile string `env:"GATEWAY_TOKENS_FILE" help:"File of bearer tokens that may call, a line each: name, space, token. It is read again when it changes. Empty: none."`
	JWKSURL    string `env:"GATEWAY_JWKS_URL" help:"Address of the JSON Web Key Set that verifies callers' JWTs. Empty: none."`
	Issuer     string `env:"GATEWAY_JWT_ISSUER" help:"Issuer that a JWT must name; empty: any."`
	Audience   string `env:"GATEWAY_JWT_AUDIENCE" help:"Audience that a JWT must name; needed with a key set, since else tokens meant for others would do."`
}

// Validate names every setting that cannot be worked with.
func (c *Config) Validate() error {
	var errs []error
	if c.JWKSURL == "" {
		if c.Issuer != "" || c.Audience != "" {
			errs = append(errs, errors.New("MILLRACE_GATEWAY_JWKS_URL: is needed to verify the JWTs of MILLRACE_GATEWAY_JWT_ISSUER and _AUDIENCE"))
		}
		return errors.Join(errs...)
	}
	if u, err := url.Parse(c.JWKSURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, errors.New("MILLRACE_GATEWAY_JWKS_URL: is no http or https address"))
	}
	if c.Audience == "" {
		errs = append(errs, errors.New("MILLRACE_GATEWAY_JWT_AUDIENCE: is needed with MILLRACE_GATEWAY_JWKS_URL"))
	}
	return errors.Join(errs...)
}

// What can be wrong with a caller.
var (
	ErrMissing  = errors.New("a bearer token is needed")
	ErrInvalid  = errors.New("the bearer token is not valid")
	ErrNotReady = errors.New("the keys that verify tokens could not be fetched yet")
)

// Guard tells callers apart. It is safe for concurrent use.
type Guard struct {
	tokens *tokens // nil: none
	keys   *keys   // nil: none
	log    *slog.Logger
}

// New reads the file of tokens, if there is one. It starts nothing and calls
// nobody. failed is called whenever tokens or keys cannot be read later on.
func New(cfg Config, log *slog.Logger, failed func()) (*Guard, error) {
	g := &Guard{log: log}
	if cfg.TokensFile != "" {
		g.tokens = &tokens{path: cfg.TokensFile, log: log, failed: failed}
		if err := g.tokens.read(); err != nil {
			return nil, fmt.Errorf("MILLRACE_GATEWAY_TOKENS_FILE: %w", err)
		}
	}
	if cfg.JWKSURL != "" {
		g.keys = newKeys(cfg, log, failed)
	}
	return g, nil
}

// Required says whether callers have to prove who they are.
func (g *Guard) Required() bool { return g.tokens != nil || g.keys != nil }

// Run keeps tokens and keys fresh until ctx is done.
func (g *Guard) Run(ctx context.Context) {
	if !g.Required() {
		return
	}
	if g.keys != nil {
		defer g.keys.client.CloseIdleConnections()
		g.keys.refresh(ctx, 0)
	}
	turn := time.NewTicker(reloadEvery)
	defer turn.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		}
		if g.tokens != nil {
			g.tokens.reload()
		}
		if g.keys != nil {
			g.keys.refresh(ctx, g.keys.pace())
		}
	}
}

// reloadEvery is the longest that a changed file goes unnoticed.
const reloadEvery = 5 * time.Second

// Identify returns who sent a header Authorization: the token's name, or the JWT's
// subject. The error is one of this package's.
func (g *Guard) Identify(ctx context.Context, authorization string) (string, error) {
	scheme, token, _ := strings.Cut(authorization, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", ErrMissing
	}
	if g.tokens != nil {
		if name, ok := g.tokens.find(token); ok {
			return name, nil
		}
	}
	// A JWT has three parts; anything else was meant for the file.
	if g.keys == nil || strings.Count(token, ".") != 2 {
		return "", ErrInvalid
	}
	return g.keys.verify(ctx, token)
}
