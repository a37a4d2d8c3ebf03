package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/gateway/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	alice = "alice-has-a-long-token"
	bob   = "bob-has-a-long-token-too"
)

func guard(t *testing.T, cfg auth.Config) (*auth.Guard, *atomic.Int64) {
	t.Helper()
	require.NoError(t, cfg.Validate())
	var failed atomic.Int64
	g, err := auth.New(cfg, slog.New(slog.DiscardHandler), func() { failed.Add(1) })
	require.NoError(t, err)
	return g, &failed
}

func run(t *testing.T, g *auth.Guard) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); g.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestTokensOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write(t, path, "# who may call\n\nalice "+alice+"\n  bob\t"+bob+"  \n")
	g, _ := guard(t, auth.Config{TokensFile: path})
	require.True(t, g.Required())
	tests := map[string]struct {
		header, client string
		err            error
	}{
		"known":             {"Bearer " + alice, "alice", nil},
		"another":           {"Bearer " + bob, "bob", nil},
		"scheme's case":     {"bearer  " + alice, "alice", nil},
		"unknown":           {"Bearer " + alice + "x", "", auth.ErrInvalid},
		"looks like a JWT":  {"Bearer a.b.c", "", auth.ErrInvalid},
		"none":              {"", "", auth.ErrMissing},
		"no token":          {"Bearer ", "", auth.ErrMissing},
		"another scheme":    {"Basic " + alice, "", auth.ErrMissing},
		"the comment's own": {"Bearer who", "", auth.ErrInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client, err := g.Identify(t.Context(), tt.header)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.client, client)
		})
	}
}

func TestBadFilesOfTokens(t *testing.T) {
	for name, tt := range map[string]struct{ text, says string }{
		"empty":         {"# nobody\n", "no token"},
		"short":         {"alice secret\n", "line 1: the token of alice has fewer than 16"},
		"one word":      {"\n" + alice + "\n", "line 2: not a name and a token"},
		"shared":        {"alice " + alice + "\nbob " + alice + "\n", "line 2: alice and bob have the same token"},
		"three words":   {"alice " + alice + " x\n", "line 1: not a name"},
		"no such file":  {"", "no such file"},
		"secret unsaid": {"a " + alice + " " + bob, "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens")
			if tt.text != "" {
				write(t, path, tt.text)
			}
			_, err := auth.New(auth.Config{TokensFile: path}, slog.New(slog.DiscardHandler), func() {})
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), alice)
		})
	}
}

func TestAChangedFileIsReadAgainAndABrokenOneIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "tokens")
		write(t, path, "alice "+alice+"\n")
		g, failed := guard(t, auth.Config{TokensFile: path})
		run(t, g)
		is := func(token string, want error) {
			t.Helper()
			_, err := g.Identify(t.Context(), "Bearer "+token)
			require.ErrorIs(t, err, want)
		}
		write(t, path, "bob "+bob+"\n")
		is(alice, nil)
		time.Sleep(6 * time.Second)
		is(alice, auth.ErrInvalid)
		is(bob, nil)
		write(t, path, "garbage\n")
		time.Sleep(6 * time.Second)
		is(bob, nil)
		require.Positive(t, failed.Load())
	})
}

// issuer signs tokens and publishes its keys.
type issuer struct {
	t    *testing.T
	keys map[string]*ecdsa.PrivateKey
	hits int
	down bool
}

func (i *issuer) add(kid string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(i.t, err)
	i.keys[kid] = key
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	i.hits++
	if i.down {
		http.Error(w, "down", http.StatusBadGateway)
		return
	}
	list := []map[string]string{}
	for kid, key := range i.keys {
		point, err := key.PublicKey.Bytes()
		if err != nil {
			i.t.Error(err)
			continue
		}
		text := base64.RawURLEncoding.EncodeToString
		list = append(list, map[string]string{
			"kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "use": "sig",
			"x": text(point[1:33]), "y": text(point[33:]),
		})
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"keys": list}); err != nil {
		i.t.Error(err)
	}
}

func (i *issuer) sign(kid string, claims jwt.RegisteredClaims) string {
	i.t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	token.Header["kid"] = kid
	text, err := token.SignedString(i.keys[kid])
	require.NoError(i.t, err)
	return text
}

func good() jwt.RegisteredClaims {
	return jwt.RegisteredClaims{
		Issuer: "https://id", Subject: "alice", Audience: jwt.ClaimStrings{"millrace"},
		ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute)),
	}
}

func newIssuer(t *testing.T) (*issuer, auth.Config) {
	t.Helper()
	i := &issuer{t: t, keys: map[string]*ecdsa.PrivateKey{}}
	i.add("one")
	srv := httptest.NewServer(i)
	t.Cleanup(srv.Close)
	return i, auth.Config{JWKSURL: srv.URL, Issuer: "https://id", Audience: "millrace"}
}

func TestJWTs(t *testing.T) {
	i, cfg := newIssuer(t)
	g, _ := guard(t, cfg)
	stranger := &issuer{t: t, keys: map[string]*ecdsa.PrivateKey{}}
	stranger.add("one")
	change := func(f func(*jwt.RegisteredClaims)) string {
		c := good()
		f(&c)
		return i.sign("one", c)
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, good()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	mac, err := jwt.NewWithClaims(jwt.SigningMethodHS256, good()).SignedString([]byte("one"))
	require.NoError(t, err)
	tests := map[string]struct {
		token  string
		client string
		err    error
	}{
		"good":            {i.sign("one", good()), "alice", nil},
		"expired":         {change(func(c *jwt.RegisteredClaims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Hour)) }), "", auth.ErrInvalid},
		"never expires":   {change(func(c *jwt.RegisteredClaims) { c.ExpiresAt = nil }), "", auth.ErrInvalid},
		"for others":      {change(func(c *jwt.RegisteredClaims) { c.Audience = jwt.ClaimStrings{"mail"} }), "", auth.ErrInvalid},
		"of others":       {change(func(c *jwt.RegisteredClaims) { c.Issuer = "https://evil" }), "", auth.ErrInvalid},
		"of nobody":       {change(func(c *jwt.RegisteredClaims) { c.Subject = "" }), "", auth.ErrInvalid},
		"not yet":         {change(func(c *jwt.RegisteredClaims) { c.NotBefore = jwt.NewNumericDate(time.Now().Add(time.Hour)) }), "", auth.ErrInvalid},
		"another's key":   {stranger.sign("one", good()), "", auth.ErrInvalid},
		"unsigned":        {none, "", auth.ErrInvalid},
		"shared secret":   {mac, "", auth.ErrInvalid},
		"garbage":         {"a.b.c", "", auth.ErrInvalid},
		"not three parts": {"abc", "", auth.ErrInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client, err := g.Identify(t.Context(), "Bearer "+tt.token)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.client, client)
		})
	}
	require.Equal(t, 1, i.hits, "made-up tokens do not make it ask again and again")
}

func TestKeysAreChangedAndComeLate(t *testing.T) {
	i, cfg := newIssuer(t)
	i.down = true
	g, failed := guard(t, cfg)
	_, err := g.Identify(t.Context(), "Bearer "+i.sign("one", good()))
	require.ErrorIs(t, err, auth.ErrNotReady)
	require.EqualValues(t, 1, failed.Load())

	i.down = false
	g, _ = guard(t, cfg)
	run(t, g)
	client, err := g.Identify(t.Context(), "Bearer "+i.sign("one", good()))
	require.NoError(t, err)
	require.Equal(t, "alice", client)
}

func TestEveryMistakeIsNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  auth.Config
		says string
	}{
		"no address":  {auth.Config{JWKSURL: "keys", Audience: "a"}, "JWKS_URL: is no"},
		"no audience": {auth.Config{JWKSURL: "https://id/keys"}, "JWT_AUDIENCE: is needed"},
		"no keys":     {auth.Config{Issuer: "https://id"}, "JWKS_URL: is needed"},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorContains(t, tt.cfg.Validate(), tt.says) })
	}
}
