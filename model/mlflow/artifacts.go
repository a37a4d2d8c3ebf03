package mlflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// File is an artifact below a model's root.
type File struct {
	Path string // relative, with slashes
	Size int64  // -1 when the store does not tell
	MD5  string // of the content, hex; "" when the store does not tell
	ETag string // the content that a resumed read goes on with; "" at first
}

// Body is the content of a file, from an offset on.
type Body struct {
	io.ReadCloser
	Offset int64  // where it begins: 0 where a store cannot begin elsewhere
	Size   int64  // of the whole file, -1 when unknown
	ETag   string // is another when the content is; "" when the store has none
	MD5    string // of the whole file, hex; "" when the store does not tell
}

// Bucket is a model's folder in an object store, reached without the tracking
// server. Its methods may be called concurrently. Errors match [ErrNoAccess]
// when another way to the same files may do better: no credentials, no
// permission, an endpoint out of reach.
type Bucket interface {
	source
	// Put writes a file of so many bytes.
	Put(ctx context.Context, name string, size int64, content io.ReadSeeker) error
	Close() error
}

// source is where the files of one model are read from.
type source interface {
	// Files lists all files below the root. It gives up beyond limit.
	Files(ctx context.Context, limit int) ([]File, error)
	// Open reads a file from an offset on, or from its start.
	Open(ctx context.Context, f File, offset int64) (*Body, error)
}

// Opener opens the bucket of an artifact URI: s3, gs, wasbs, abfss and their
// like. direct says that it was asked for, so that it also tries without
// credentials.
type Opener func(ctx context.Context, uri string, direct bool) (Bucket, error)

// Artifacts says how the files of a model are reached.
type Artifacts string

// The ways. [ArtifactsAuto] asks the object store itself when there are
// credentials for it, and the tracking server when there are none or when they
// do not suffice.
const (
	ArtifactsAuto   Artifacts = "auto"
	ArtifactsDirect Artifacts = "direct"
	ArtifactsServer Artifacts = "server"
)

// local says whether an artifact URI is a path of this machine.
func local(uri string) (string, bool) {
	if strings.HasPrefix(uri, "file:") {
		p, err := localPath(uri)
		return p, err == nil
	}
	return uri, !strings.Contains(uri, ":")
}

// Fetch brings the model of a resolved reference to the disk, through the
// cache. release says that it is no longer used. A folder is used where it is.
// progress, which may be nil, is called now and then by one goroutine.
func (c *Client) Fetch(ctx context.Context, cache *Cache, r Resolved, progress func(Progress)) (dir string, release func(), err error) {
	if p, ok := local(r.ArtifactURI); ok && (r.Ref.Kind == KindFolder || c.cfg.AllowLocal) {
		return p, func() {}, nil
	}
	return cache.Get(ctx, r.Identity, func(ctx context.Context, into *Filler) error {
		return c.fetch(ctx, r, into, progress)
	})
}

// fetch tries one way after the other to the files of a model. Only what
// another way may do better goes on to it.
func (c *Client) fetch(ctx context.Context, r Resolved, into *Filler, progress func(Progress)) error {
	var tried []error
	routes := c.routes(r)
	for i, way := range routes {
		err := c.fetchBy(ctx, way, r, into, progress)
		if err == nil {
			return nil
		}
		tried = append(tried, fmt.Errorf("%s: %w", way.name, err))
		if ctx.Err() != nil || !errors.Is(err, ErrNoAccess) {
			break
		}
		if i+1 < len(routes) {
			c.log.Warn("a model's files cannot be had one way; the next is tried",
				"model", r.Name, "version", r.Version, "way", way.name, "next", routes[i+1].name, "error", err)
		}
	}
	if len(tried) == 1 {
		return tried[0]
	}
	return fmt.Errorf("every way to the model's files failed: %w", errors.Join(tried...))
}

func (c *Client) fetchBy(ctx context.Context, way route, r Resolved, into *Filler, progress func(Progress)) error {
	src, err := way.open(ctx)
	if err != nil {
		return err
	}
	if b, ok := src.(Bucket); ok {
		defer b.Close() // it was read from
	}
	files, err := src.Files(ctx, maxFiles)
	if err != nil {
		return fmt.Errorf("list artifacts: %w", err)
	}
	total, err := c.checkListing(files)
	if err != nil {
		return fmt.Errorf("list artifacts: %w", err)
	}
	if err := into.Expect(total); err != nil {
		return err
	}
	m := c.newMeter("downloaded", r.Name+" version "+r.Version, total, len(files), progress)
	defer m.start()()
	return c.downloadAll(ctx, src, files, into, m)
}
