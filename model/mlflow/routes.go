package mlflow

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// route is one way to a model's files.
type route struct {
	name string
	open func(context.Context) (source, error)
}

// routes lists the ways to a model's files, the preferred first.
func (c *Client) routes(r Resolved) []route {
	scheme, _, _ := strings.Cut(r.ArtifactURI, ":")
	server := route{"through the tracking server", func(ctx context.Context) (source, error) { return c.openServer(ctx, r) }}
	direct := route{"directly from " + scheme + ":", func(ctx context.Context) (source, error) { return c.openDirect(ctx, r.ArtifactURI) }}
	if proxied(r.ArtifactURI) {
		return []route{{"from the server's artifact proxy", func(context.Context) (source, error) { return c.openProxy(r.ArtifactURI) }}}
	}
	if _, ok := local(r.ArtifactURI); ok {
		direct = route{"from a shared folder", func(context.Context) (source, error) {
			return nil, fmt.Errorf("%w: %s is a local path; MILLRACE_MODEL_ALLOW_LOCAL_ARTIFACTS=true reads it", ErrNoAccess, r.ArtifactURI)
		}}
	}
	switch c.cfg.Artifacts {
	case ArtifactsDirect:
		return []route{direct}
	case ArtifactsServer:
		return []route{server}
	case ArtifactsAuto:
	}
	return []route{direct, server}
}

// proxied says whether an artifact URI is one of the mlflow-artifacts protocol.
func proxied(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && (u.Scheme == "mlflow-artifacts" || webAddress(uri) && strings.Contains(u.Path, proxyRoute))
}

func webAddress(uri string) bool {
	return strings.HasPrefix(uri, "http://") || strings.HasPrefix(uri, "https://")
}

// stores are the schemes of the object stores that can be reached directly.
func stores() []string { return []string{"s3", "gs", "wasb", "wasbs", "abfs", "abfss"} }

// openDirect opens an object store, or a plain web server.
func (c *Client) openDirect(ctx context.Context, uri string) (source, error) {
	scheme, _, _ := strings.Cut(uri, ":")
	switch {
	case webAddress(uri):
		return c.openWeb(uri)
	case !slices.Contains(stores(), scheme) || c.cfg.Open == nil:
		return nil, fmt.Errorf("%w: there is no direct access to %s: here", ErrNoAccess, scheme)
	}
	b, err := c.cfg.Open(ctx, uri, c.cfg.Artifacts == ArtifactsDirect)
	if err != nil {
		return nil, err // not b: a nil of its type is no nil source
	}
	return b, nil
}

// openBucket opens where files can be written to.
func (c *Client) openBucket(ctx context.Context, uri string) (Bucket, error) {
	if proxied(uri) {
		return c.openProxy(uri)
	}
	scheme, _, _ := strings.Cut(uri, ":")
	if slices.Contains(stores(), scheme) && c.cfg.Open != nil {
		return c.cfg.Open(ctx, uri, true)
	}
	return nil, fmt.Errorf("%w: nothing can be uploaded to %s: from here; let the tracking server serve artifacts (--serve-artifacts)", ErrNoAccess, scheme)
}
