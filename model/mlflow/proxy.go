package mlflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
)

const proxyRoute = "/mlflow-artifacts/artifacts"

// proxy is a model's folder that a tracking server hands out itself, by the
// mlflow-artifacts protocol.
type proxy struct {
	c       *Client
	foreign bool
	base    string // the address, up to artifacts/
	root    string // path of the model in the proxy

	plain atomic.Bool // no presigned addresses: the server has none, or they do not work here
}

// openProxy finds the proxy that serves an artifact URI.
func (c *Client) openProxy(uri string) (*proxy, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("%w: malformed artifact URI", ErrArtifact)
	}
	if c.base == nil {
		return nil, ErrNoRegistry
	}
	s := &proxy{c: c, root: strings.Trim(u.Path, "/"), base: c.url(nil, "api/2.0"+proxyRoute)}
	switch {
	case u.Scheme == "mlflow-artifacts" && u.Host == "":
	case u.Scheme == "mlflow-artifacts":
		s.base = c.base.Scheme + "://" + u.Host + "/api/2.0" + proxyRoute
		s.foreign = u.Host != c.base.Host
	default:
		prefix, rest, _ := strings.Cut(u.Path, proxyRoute)
		s.base, s.root = u.Scheme+"://"+u.Host+prefix+proxyRoute, strings.Trim(rest, "/")
		s.foreign = u.Host != c.base.Host || u.Scheme != c.base.Scheme
	}
	if s.root != "" {
		if err := checkPath(s.root); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrArtifact, err)
		}
	}
	s.plain.Store(c.cfg.Artifacts == ArtifactsServer)
	return s, nil
}

// Files walks the proxy's listings, which give base names.
func (s *proxy) Files(ctx context.Context, limit int) ([]File, error) {
	files, err := walk(ctx, func(ctx context.Context, dir string) ([]entry, error) {
		var out struct {
			Files []entry `json:"files"`
		}
		q := url.Values{"path": {path.Join(s.root, dir)}}
		err := s.c.json(ctx, call{method: http.MethodGet, url: s.base + "?" + q.Encode(), foreign: s.foreign, retry5: 2}, &out)
		return out.Files, err
	}, limit)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%w: nothing at %s", ErrNotFound, s.root)
	}
	return files, err
}

// presignFrom is the size from which a presigned address is worth asking for.
const presignFrom = 8 << 20

// Open reads large files from the object store behind the proxy where the
// server gives an address for that (MLflow ≥ 3.11), all others from the proxy.
func (s *proxy) Open(ctx context.Context, f File, offset int64) (*Body, error) {
	if f.Size >= presignFrom && !s.plain.Load() {
		b, err := s.openPresigned(ctx, f, offset)
		if err == nil || ctx.Err() != nil {
			return b, err
		}
		if !s.plain.Swap(true) && !unsupported(err) {
			s.c.log.Warn("a presigned address does not work from here; the files come through the server", "error", err)
		}
	}
	return s.c.openHTTP(ctx, call{url: s.fileURL(f.Path), foreign: s.foreign}, f, offset)
}

func (s *proxy) openPresigned(ctx context.Context, f File, offset int64) (*Body, error) {
	var out presigned
	at := strings.TrimSuffix(s.base, "artifacts") + "presigned" + escapePath(path.Join(s.root, f.Path))
	if err := s.c.json(ctx, call{method: http.MethodGet, url: at, foreign: s.foreign, retries: 1}, &out); err != nil {
		return nil, err
	}
	return s.c.openSigned(ctx, out, f, offset)
}

// presigned is an address that needs no credentials for some minutes.
type presigned struct {
	URL    string            `json:"url"`
	Header map[string]string `json:"headers"`
}

func (c *Client) openSigned(ctx context.Context, p presigned, f File, offset int64) (*Body, error) {
	u, err := url.Parse(p.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%w: the server's presigned address is none", ErrArtifact)
	}
	return c.openHTTP(ctx, call{url: p.URL, header: p.Header, foreign: true, retries: 2}, f, offset)
}

// unsupported says that a server has no such addresses to give.
func unsupported(err error) bool {
	var e *APIError
	return noRoute(err) || errors.As(err, &e) && (e.Status == http.StatusNotImplemented || e.Code == "INVALID_PARAMETER_VALUE")
}

// Put uploads a file.
func (s *proxy) Put(ctx context.Context, name string, size int64, content io.ReadSeeker) error {
	return s.c.json(ctx, call{
		method: http.MethodPut, url: s.fileURL(name), file: content, size: size,
		kind: "application/octet-stream", foreign: s.foreign,
	}, nil)
}

// Close has nothing to close.
func (s *proxy) Close() error { return nil }

func (s *proxy) fileURL(name string) string {
	return s.base + escapePath(path.Join(s.root, name))
}
